"""The example of a configuration file shows every key, and every default as it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from werkzeug.security import check_password_hash

from gateway.config.file import load_config, settings_from_toml
from gateway.config.reader import Array, Table
from gateway.config.schema import FILE
from tests.config.config_samples import (
    ENVIRON,
    KEY,
)

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_the_example_is_without_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEY", KEY)
    settings = load_config(EXAMPLE)
    assert settings.store.data_dir == EXAMPLE.parent / "gateway-data"
    assert [client.client_id for client in settings.clients] == ["my-app"]
    assert [user.name for user in settings.sign_in.users] == ["demo"]
    assert [route.path for route in settings.routes] == ["/api/resource/Project/*"]


def test_the_example_is_without_fault_when_its_commented_keys_are_set(tmp_path: Path) -> None:
    (tmp_path / "secret-keys").write_text(f"{KEY}\n")
    (tmp_path / "secret-keys").chmod(0o600)
    for name in ("upstream-ca", "store-ca", "store-client", "store-client-key"):
        (tmp_path / f"{name}.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    written = (
        re.sub(r"(?m)^# (?=[a-z0-9_]+ = )(?!secret_key = )", "", EXAMPLE.read_text())
        .replace("http://127.0.0.1:8080", "https://127.0.0.1:8080")
        .replace('"embedded"', '"rediss://localhost"')
    )
    settings = settings_from_toml(written, base=tmp_path, environ={})
    assert settings.secret_keys == (KEY.encode(),)
    assert settings.upstream.ca_file == tmp_path / "upstream-ca.pem"
    assert settings.store.key_file == tmp_path / "store-client-key.pem"
    assert settings.clients[0].secret_sha256 == "0" * 64


#: What the example shows for the sake of the example; everything else it shows is a default.
SAMPLES = {
    "issuer",
    "scopes",
    "client_id",
    "client.name",
    "redirect_uris",
    "client.scopes",
    "client.pkce",
    "user.name",
    "full_name",
    "email",
    "password_hash",
    "path",
    "methods",
    "route.scopes",
}


def default_of(each: Field[Any]) -> Any:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def compare_with_defaults(settings: Any) -> Iterator[str]:
    """Yield the fields that do not have their defaults."""
    kind = type(settings).__name__.lower()
    for each in fields(settings):
        value = getattr(settings, each.name)
        if isinstance(value, tuple) and value and is_dataclass(value[0]):
            for item in value:
                yield from compare_with_defaults(item)
        elif is_dataclass(value):
            yield from compare_with_defaults(value)
        elif not {each.name, f"{kind}.{each.name}"} & SAMPLES and value != default_of(each):
            yield f"{kind}.{each.name}"


def test_every_default_in_the_example_is_the_default() -> None:
    settings = settings_from_toml(EXAMPLE.read_text(), base=Path(), environ=ENVIRON)
    assert list(compare_with_defaults(settings)) == ["settings.secret_keys"]


def keys_of(table: Table, name: str = "") -> Iterator[str]:
    """Yield every key that a file may have, with its table: ``server.listen``."""
    for key, node in table.keys.items():
        match node:
            case Table():
                yield from keys_of(node, f"{name}{key}.")
            case Array():
                yield from keys_of(node.of, f"{name}{key}.")
            case _:
                yield f"{name}{key}"


def test_the_example_shows_every_key() -> None:
    shown, table = set(), ""
    for line in EXAMPLE.read_text().splitlines():
        if header := re.match(r"\[+([a-z_.]+)\]", line):
            table = f"{header[1]}."
            shown.add(header[1])
        elif key := re.match(r"(?:# )?([a-z0-9_]+) = ", line):
            shown.add(f"{table}{key[1]}")
    assert set(keys_of(FILE)) <= shown


def tables_of(table: Table) -> Iterator[Table]:
    yield table
    for node in table.keys.values():
        if isinstance(node, Table):
            yield from tables_of(node)
        elif isinstance(node, Array):
            yield from tables_of(node.of)


def test_every_field_of_the_settings_has_a_key() -> None:
    for table in tables_of(FILE):
        filled = {table.fields.get(key, key) for key in table.keys}
        if table is FILE:
            filled |= {"secret_keys"}
            filled -= {"secret_key", "secret_key_file"}
        assert filled == {each.name for each in fields(table.makes)}


def test_nobody_knows_the_password_of_the_example() -> None:
    """A file that is copied to a server unread must not let a guest in."""
    [user] = tomllib.loads(EXAMPLE.read_text())["sign_in"]["users"]
    assert not check_password_hash(user["password_hash"], "demo")
