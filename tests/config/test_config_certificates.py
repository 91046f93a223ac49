"""Files and logins that the gateway's own connections and its audit log need."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.file import ConfigError, settings_from_toml
from tests.config.config_samples import ENVIRON, ISSUER, faults


def test_a_certificate_file_that_is_none_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    written = f"""{ISSUER}
        [upstream]
        url = "https://b"
        ca_file = "no.pem"
        [store]
        url = "rediss://r"
        ca_file = "empty.pem"
        key_file = "."
    """
    with pytest.raises(ConfigError) as raised:
        settings_from_toml(written, base=tmp_path, environ=ENVIRON)
    assert [str(fault) for fault in raised.value.faults] == [
        "[upstream] ca_file: cannot be read: No such file or directory",
        "[store] ca_file: holds nothing in PEM format",
        "[store] key_file: cannot be read: Is a directory",
    ]


def test_a_certificate_for_a_url_without_tls_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    written = f'{ISSUER}[upstream]\nca_file = "ca.pem"\n[store]\nca_file = "ca.pem"\n'
    with pytest.raises(ConfigError) as raised:
        settings_from_toml(written, base=tmp_path, environ=ENVIRON)
    assert [str(fault) for fault in raised.value.faults] == [
        "[store] ca_file: is for a url that begins with rediss",
        "[upstream] ca_file: is for a url that begins with https",
    ]


def test_a_login_for_sentinels_that_are_not_there_is_a_fault() -> None:
    login = 'sentinel_user = "u"\nsentinel_password = "p"\n'
    message = "is for a url with +sentinel"
    assert faults(f'{ISSUER}[store]\nurl = "redis://r"\n{login}') == [
        f"[store] sentinel_user: {message}",
        f"[store] sentinel_password: {message}",
    ]
    assert faults(f'{ISSUER}[store]\nurl = "redis+sentinel://r"\n{login}') == []
    [line] = faults(f'{ISSUER}[store]\nurl = "redis+sentinel://r"\nsentinel_user = "u"\n')
    assert line == "[store] sentinel_user: has no sentinel_password"


def test_an_audit_log_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[audit\] file: is in a folder that is not there"):
        settings_from_toml(
            f'{ISSUER}[audit]\nfile = "logs/audit.log"\n', base=tmp_path, environ=ENVIRON
        )
