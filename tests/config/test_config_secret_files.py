"""Every secret can come from a file of its own, which is not open to everybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gateway.config.file import ConfigError, settings_from_toml
from gateway.config.settings import Settings
from gateway.config.tables.table import Table, keys_of
from tests.config.config_samples import (
    CLIENT,
    ENVIRON,
    ISSUER,
    KEY,
    OTHER_KEY,
    USER,
    USER_HASH,
    WEB_CLIENT,
)

SHA256 = "1a" * 32
OTHER_USER = '[[sign_in.users]]\nname = "other"\n'


def secret(folder: Path, content: str | bytes, *, name: str = "secret", mode: int = 0o600) -> None:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)


def read(folder: Path, written: str, environ: Mapping[str, str] = ENVIRON) -> Settings:
    return settings_from_toml(ISSUER + written, base=folder, environ=environ)


def faults(folder: Path, written: str, environ: Mapping[str, str] = ENVIRON) -> list[str]:
    try:
        read(folder, written, environ)
    except ConfigError as error:
        return str(error).split("\n")
    return []


def secrets_of(table: type[Table], above: str = "") -> Iterator[str]:
    for key in keys_of(table).values():
        if key.table is not None:
            yield from secrets_of(key.table, f"{above}{key.name}.")
        elif key.secret_file:
            yield f"{above}{key.name}"


def test_these_are_the_secrets() -> None:
    """A new one needs a line here, and a test that it is shown nowhere."""
    assert set(secrets_of(Settings)) == {
        "secret_key",
        "store.url",
        "store.sentinel_password",
        "upstream.headers",
        "clients.secret_sha256",
        "sign_in.users.password_hash",
    }


def test_the_url_of_the_store_may_be_in_a_file(tmp_path: Path) -> None:
    secret(tmp_path, "redis://me:pw@store/0\n")
    assert read(tmp_path, '[store]\nurl_file = "secret"\n').store.url == "redis://me:pw@store/0"


def test_only_the_last_line_end_is_not_part_of_a_secret(tmp_path: Path) -> None:
    secret(tmp_path, " p w\n\r\n")
    written = '[store]\nurl = "redis+sentinel://s"\nsentinel_password_file = "secret"\n'
    assert read(tmp_path, written).store.sentinel_password == " p w\n"


def test_headers_for_the_backend_may_be_in_a_file_as_json(tmp_path: Path) -> None:
    secret(tmp_path, '{"Authorization": "Bearer x"}')
    settings = read(tmp_path, '[upstream]\nheaders_file = "secret"\n')
    assert settings.upstream.headers == {"Authorization": "Bearer x"}


def test_each_client_and_each_user_may_have_a_file(tmp_path: Path) -> None:
    secret(tmp_path, SHA256.upper(), name="client")
    secret(tmp_path, USER_HASH, name="user")
    settings = read(
        tmp_path,
        f'{WEB_CLIENT}secret_sha256_file = "client"\n'
        f'{USER}{OTHER_USER}password_hash_file = "user"\n',
    )
    assert [client.secret_sha256 for client in settings.clients] == [SHA256]
    assert [user.password_hash for user in settings.sign_in.users] == [USER_HASH, USER_HASH]


def test_a_variable_may_name_the_file_of_a_secret(tmp_path: Path) -> None:
    secret(tmp_path, KEY, name="key")
    secret(tmp_path, "redis://store", name="url")
    environ = {"GATEWAY_SECRET_KEY_FILE": "key", "GATEWAY_STORE__URL_FILE": str(tmp_path / "url")}
    settings = read(tmp_path, "", environ)
    assert settings.secret_keys == (KEY.encode(),)
    assert settings.store.url == "redis://store"


def test_a_variable_wins_over_the_file_of_a_secret_and_the_other_way_round(tmp_path: Path) -> None:
    """The file that is overridden need not even be there."""
    environ = {**ENVIRON, "GATEWAY_STORE__URL": "redis://b"}
    assert read(tmp_path, '[store]\nurl_file = "missing"\n', environ).store.url == "redis://b"
    secret(tmp_path, "redis://c")
    environ = {**ENVIRON, "GATEWAY_STORE__URL_FILE": "secret"}
    assert read(tmp_path, '[store]\nurl = "redis://a"\n', environ).store.url == "redis://c"


# --- Faults


def test_a_secret_and_its_file_are_a_fault(tmp_path: Path) -> None:
    secret(tmp_path, "redis://a")
    written = '[store]\nurl = "redis://a"\nurl_file = "secret"\n'
    assert faults(tmp_path, written) == ["[store] url_file: must not be there beside url"]
    environ = {
        **ENVIRON,
        "GATEWAY_STORE__URL": "redis://a",
        "GATEWAY_STORE__URL_FILE": "secret",
    }
    assert faults(tmp_path, "", environ) == [
        "GATEWAY_STORE__URL_FILE: must not be there beside url"
    ]
    environ = {"GATEWAY_SECRET_KEY": KEY, "GATEWAY_SECRET_KEY_FILE": "secret"}
    assert faults(tmp_path, "", environ) == [
        "GATEWAY_SECRET_KEY_FILE: must not be there beside secret_key"
    ]


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_a_secret_that_is_open_to_everybody_is_a_fault(tmp_path: Path, mode: int) -> None:
    secret(tmp_path, "redis://a", mode=mode)
    assert faults(tmp_path, '[store]\nurl_file = "secret"\n') == [
        "[store] url_file: is open to every user of this machine; run `chmod o= FILE`"
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"redis://\xff", "is not UTF-8"),
        (b"redis://hunter2@host", "must have its credentials as user:password@ or :password@"),
    ],
)
def test_a_file_without_a_good_secret_is_a_fault(tmp_path: Path, content: bytes, why: str) -> None:
    secret(tmp_path, content)
    assert faults(tmp_path, '[store]\nurl_file = "secret"\n') == [f"[store] url_file: {why}"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ('"missing"', "cannot be read: No such file or directory"),
        ('"."', "cannot be read: Is a directory"),
        ('""', "must be the name of a file"),
        ("5", "must be a string, not an integer"),
    ],
)
def test_a_file_of_a_secret_that_cannot_be_read_is_a_fault(
    tmp_path: Path, name: str, why: str
) -> None:
    assert faults(tmp_path, f"[store]\nurl_file = {name}\n") == [f"[store] url_file: {why}"]


def test_headers_in_a_file_must_be_json_and_headers(tmp_path: Path) -> None:
    written = '[upstream]\nheaders_file = "secret"\n'
    for content in ("Authorization: hunter2", '["hunter2"]', "[" * 100_000):
        secret(tmp_path, content)
        assert faults(tmp_path, written) == ["[upstream] headers_file: must be a table, as JSON"]
    secret(tmp_path, '{"Connection": "hunter2"}')
    assert faults(tmp_path, written) == [
        (
            "[upstream] headers_file Connection:"
            " must not be set: it belongs to the connection to the backend"
        )
    ]


def test_a_faulty_file_of_a_required_secret_is_one_fault(tmp_path: Path) -> None:
    secret(tmp_path, "hunter2")
    for name, why in (
        ("secret", "must be a hash as `gateway hash-password` prints it, scrypt:…$salt$hash"),
        ("missing", "cannot be read: No such file or directory"),
    ):
        assert faults(tmp_path, f'{OTHER_USER}password_hash_file = "{name}"\n') == [
            f"[[sign_in.users]] #1 (other) password_hash_file: {why}"
        ]


def test_a_fault_in_a_secret_names_the_variable_of_its_file(tmp_path: Path) -> None:
    secret(tmp_path, "redis://hunter2@host")
    environ = {**ENVIRON, "GATEWAY_STORE__URL_FILE": "secret"}
    assert faults(tmp_path, "", environ) == [
        "GATEWAY_STORE__URL_FILE: must have its credentials as user:password@ or :password@"
    ]
    secret(tmp_path, f"{KEY}\nshort")
    assert faults(tmp_path, "", {"GATEWAY_SECRET_KEY_FILE": "secret"}) == [
        "GATEWAY_SECRET_KEY_FILE: #2 must have at least 32 bytes, not 5; run `gateway new-secret`"
    ]


def test_a_fault_between_keys_names_the_file_of_the_secret(tmp_path: Path) -> None:
    secret(tmp_path, "guarded")
    written = '[store]\nurl = "redis://r"\nsentinel_password_file = "secret"\n'
    assert faults(tmp_path, written) == [
        "[store] sentinel_password_file: is for a url with +sentinel"
    ]


def test_no_source_of_secret_keys_wins(tmp_path: Path) -> None:
    secret(tmp_path, KEY, name="ours")
    secret(tmp_path, OTHER_KEY, name="theirs")
    ours = f'secret_key_file = "ours"\n{CLIENT}grant_types = ["client_credentials"]\n'
    ours += f'secret_sha256 = "{SHA256}"\n'
    assert faults(tmp_path, ours, {"GATEWAY_SECRET_KEY_FILE": "ours"}) == []
    assert faults(tmp_path, ours, {"GATEWAY_SECRET_KEY_FILE": "theirs"}) == [
        "GATEWAY_SECRET_KEY_FILE: is not the key of the file; set one of the two"
    ]
    assert faults(tmp_path, ours, {"GATEWAY_SECRET_KEY_FILE": "missing"}) == [
        "GATEWAY_SECRET_KEY_FILE: cannot be read: No such file or directory"
    ]
    missing = ours.replace("ours", "missing")
    assert faults(tmp_path, missing, {"GATEWAY_SECRET_KEY_FILE": "missing"}) == [
        "GATEWAY_SECRET_KEY_FILE: cannot be read: No such file or directory",
        "secret_key_file: cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize(
    ("table", "key"),
    [("server", "listen_file"), ("limits", "form_bytes_file"), ("upstream", "url_file")],
)
def test_what_is_no_secret_has_no_file(tmp_path: Path, table: str, key: str) -> None:
    [line] = faults(tmp_path, f'[{table}]\n{key} = "secret"\n')
    assert line.startswith(f"[{table}] {key}: unknown key")
