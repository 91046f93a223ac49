"""A configuration file that cannot be read is a fault that says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.file import ConfigError, ConfigFault, load_config
from tests.config.config_samples import ISSUER, KEY, faults


def only_fault(path: Path) -> ConfigFault:
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    [fault] = raised.value.faults
    assert fault.where == str(path)
    return fault


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    assert only_fault(tmp_path / "no.toml").message == "cannot be read: No such file or directory"


def test_a_directory_is_a_fault(tmp_path: Path) -> None:
    assert only_fault(tmp_path).message == "cannot be read: Is a directory"


def test_a_file_that_the_system_cannot_open_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.symlink_to(path)
    assert only_fault(path).message == "cannot be read: Too many levels of symbolic links"


def test_a_file_that_is_not_utf_8_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b'issuer = "\xfc"')
    assert only_fault(path).message == "is not UTF-8 at byte 10"


def test_bad_toml_is_a_fault_with_its_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("[server]\nlisten = yes\n")
    assert only_fault(path).message == "is not TOML: Invalid value (at line 2, column 10)"


@pytest.mark.parametrize(
    "written",
    [
        "a = " + "[" * 5000,
        "a = " + "9" * 5000,
        "a = 1\na = 2",
        "a = 2026-13-45",
        "\0",
        "[[a]]\n[a]",
    ],
    ids=["deep", "long number", "twice", "no such day", "NUL", "array and table"],
)
def test_whatever_toml_cannot_be_is_a_fault(written: str) -> None:
    [line] = faults(written)
    assert line.startswith("the configuration: is not TOML: ")


def test_a_byte_order_mark_and_crlf_are_no_faults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xef\xbb\xbf" + ISSUER.replace("\n", "\r\n").encode())
    monkeypatch.setenv("GATEWAY_SECRET_KEY", KEY)
    assert load_config(str(path)).issuer == "http://localhost:8000"
