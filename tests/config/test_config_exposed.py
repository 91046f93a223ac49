"""A configuration file with a secret in it that every user of the machine can read is a fault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.config.file import ConfigError, load_config
from tests.config.config_samples import CLIENT, ISSUER, KEY, SCOPES, USER

SECRET_KEY = f'secret_key = "{KEY}"\n'


def faults(folder: Path, written: str, mode: int = 0o644) -> list[str]:
    path = folder / "gateway.toml"
    path.write_text(written)
    path.chmod(mode)
    try:
        load_config(path)
    except ConfigError as error:
        return [str(fault).removeprefix(f"{path}: ") for fault in error.faults]
    return []


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret key is not in the file."""
    monkeypatch.setenv("GATEWAY_SECRET_KEY", KEY)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_secret_in_an_open_file_is_a_fault(tmp_path: Path, mode: int) -> None:
    assert faults(tmp_path, SECRET_KEY + ISSUER, mode) == [
        "is open to every user of this machine and holds secret_key; run `chmod o= FILE`"
    ]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o400])
def test_owner_and_group_may_read_it(tmp_path: Path, mode: int) -> None:
    assert faults(tmp_path, SECRET_KEY + ISSUER, mode) == []


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize(
    ("written", "key"),
    [
        ('[store]\nurl = "redis://me:hunter2@a"\n', "[store] url"),
        ('[store]\nurl = "redis+sentinel://:hunter2@a,b/m"\n', "[store] url"),
        (
            '[store]\nurl = "redis+sentinel://a"\nsentinel_password = "hunter2"\n',
            "[store] sentinel_password",
        ),
        ('[upstream]\nheaders = { Authorization = "Basic hunter2" }\n', "[upstream.headers]"),
        ('[upstream.headers]\nX-Api-Key = "hunter2"\n', "[upstream.headers]"),
    ],
)
def test_every_secret_counts(tmp_path: Path, written: str, key: str) -> None:
    (line,) = faults(tmp_path, ISSUER + written)
    assert f"holds {key};" in line
    assert "hunter2" not in line


@pytest.mark.usefixtures("keyed")
@pytest.mark.parametrize(
    "written",
    [
        "",
        '[store]\nurl = "redis://a:6379/1"\n',
        '[store]\nsentinel_password = ""\n',
        '[upstream]\nheaders = { X-Site = "main" }\n',
        SCOPES + CLIENT + 'secret_sha256 = "' + "0f" * 32 + '"\n'
        'grant_types = ["client_credentials"]\n',
        USER,
    ],
    ids=["nothing", "no password", "empty", "no secret header", "client's hash", "user's hash"],
)
def test_what_lets_nobody_in_may_be_read(tmp_path: Path, written: str) -> None:
    assert faults(tmp_path, ISSUER + written) == []


def test_a_secret_in_a_file_of_its_own_leaves_the_configuration_open(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    keys.chmod(0o600)
    assert faults(tmp_path, 'secret_key_file = "keys"\n' + ISSUER) == []


def test_it_is_said_beside_the_other_faults(tmp_path: Path) -> None:
    lines = faults(tmp_path, f'{SECRET_KEY}{ISSUER}[server]\nlisten = "nowhere"\n')
    assert len(lines) == 2


def test_a_secret_that_cannot_be_one_is_said_to_be_none_and_nothing_more(tmp_path: Path) -> None:
    (line,) = faults(tmp_path, f'secret_key = "short"\n{ISSUER}')
    assert "at least 32 bytes" in line


def test_a_pipe_has_no_mode_to_mend(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, (SECRET_KEY + ISSUER).encode())
    os.close(writing)
    try:
        assert load_config(f"/dev/fd/{reading}").secret_keys == (KEY.encode(),)
    finally:
        os.close(reading)
