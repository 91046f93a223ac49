"""The example of a configuration shows every key, what it means, and every default as it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from werkzeug.security import check_password_hash

from gateway.config.file import load_config, settings_from_toml
from gateway.config.settings import Settings
from gateway.config.tables.table import Key, Table, keys_of
from tests.config.config_samples import ENVIRON, KEY

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"


def test_the_example_is_without_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEY", KEY)
    settings = load_config(EXAMPLE)
    assert settings.store.data_dir == EXAMPLE.parent / "gateway-data"
    assert [client.client_id for client in settings.clients] == ["my-app"]
    assert [user.name for user in settings.sign_in.users] == ["demo"]
    assert [route.path for route in settings.routes] == ["/api/resource/Project/*"]


def without_comment_signs(keys: str) -> str:
    """Return the example with the commented keys set that ``keys``, a pattern, matches."""
    return re.sub(rf"(?m)^# (?=(?:{keys}) = )", "", EXAMPLE.read_text())


def test_the_example_is_without_fault_when_its_commented_keys_are_set(tmp_path: Path) -> None:
    (tmp_path / "secret-keys").write_text(f"{KEY}\n")
    (tmp_path / "secret-keys").chmod(0o600)
    for name in ("upstream-ca", "store-ca", "store-client", "store-client-key"):
        (tmp_path / f"{name}.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    written = (
        without_comment_signs("secret_key_file|ca_file|cert_file|key_file|secret_sha256")
        .replace("http://127.0.0.1:8080", "https://127.0.0.1:8080")
        .replace('"embedded"', '"rediss://localhost"')
    )
    settings = settings_from_toml(written, base=tmp_path, environ={})
    assert settings.secret_keys == (KEY.encode(),)
    assert settings.upstream.ca_file == tmp_path / "upstream-ca.pem"
    assert settings.store.key_file == tmp_path / "store-client-key.pem"
    assert settings.clients[0].secret_sha256 == "0" * 64


def test_the_example_is_without_fault_when_its_secrets_are_in_files(tmp_path: Path) -> None:
    secrets = {
        "secret_key": KEY,
        "url": "redis+sentinel://me:pw@localhost",
        "sentinel_password": "guarded",
        "headers": '{"X-Site": "main"}',
        "secret_sha256": "1a" * 32,
        "password_hash": "scrypt:32768:8:1$salt$" + "0f" * 64,
    }
    # Without what stands for each of them in the file itself.
    shown = r"(?m)^(secret_sha256 =|sentinel_password =|headers =|password_hash =|url = \"e).*\n"
    written = re.sub(shown, "", without_comment_signs("|".join(f"{key}_file" for key in secrets)))
    for key, secret in secrets.items():
        [name] = re.findall(rf'(?m)^{key}_file = "(.+?)"', written)
        (tmp_path / name).write_text(secret + "\n")
        (tmp_path / name).chmod(0o600)
    settings = settings_from_toml(written, base=tmp_path, environ={})
    assert settings.secret_keys == (secrets["secret_key"].encode(),)
    assert settings.store.url == secrets["url"]
    assert settings.store.sentinel_password == secrets["sentinel_password"]
    assert settings.upstream.headers == {"X-Site": "main"}
    assert settings.clients[0].secret_sha256 == secrets["secret_sha256"]
    assert settings.sign_in.users[0].password_hash == secrets["password_hash"]


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


def compare_with_defaults(table: Table) -> Iterator[str]:
    """Yield the fields that do not have their defaults."""
    kind = type(table).__name__.lower()
    for name, value in table:
        about = type(table).model_fields[name]
        if isinstance(value, tuple) and value and isinstance(value[0], Table):
            for item in value:
                yield from compare_with_defaults(item)
        elif isinstance(value, Table):
            yield from compare_with_defaults(value)
        elif not {name, f"{kind}.{name}"} & SAMPLES and (
            about.is_required() or value != about.get_default(call_default_factory=True)
        ):
            yield f"{kind}.{name}"


def test_every_default_in_the_example_is_the_default() -> None:
    settings = settings_from_toml(EXAMPLE.read_text(), base=Path(), environ=ENVIRON)
    assert list(compare_with_defaults(settings)) == ["settings.secret_keys"]


class Shown(NamedTuple):
    """A key as the example shows it: whether it is set there, and what is said about it."""

    is_set: bool
    comment: str


def shown_keys() -> dict[str, Shown]:
    """Return every key of the example, with its table: ``server.listen``."""
    shown, table, before = {}, "", ""
    for line in EXAMPLE.read_text().splitlines():
        if header := re.match(r"\[+([a-z_.]+)\]", line):
            table = f"{header[1]}."
        elif key := re.match(r"(# )?([a-z0-9_]+) = .*?(?: +# (.*))?$", line):
            shown[f"{table}{key[2]}"] = Shown(key[1] is None, key[3] or before)
        # A long comment has a line of its own.
        before = line[2:] if line.startswith("# ") and " = " not in line else ""
    return shown


def keys_below(table: type[Table], name: str = "") -> Iterator[tuple[str, Key, str]]:
    """Yield every key that a file may have, with its table, and what the model says about it."""
    for key in keys_of(table).values():
        if key.table is not None:
            yield from keys_below(key.table, f"{name}{key.name}.")
        else:
            about = table.model_fields.get(key.field)
            yield f"{name}{key.name}", key, (about and about.description) or ""


def test_the_example_shows_every_key_and_no_other() -> None:
    known = {name for name, _, _ in keys_below(Settings)}
    shown = {name for name in shown_keys() if not name.startswith("scopes.")} | {"scopes"}
    assert shown == known


def test_the_example_says_of_each_key_what_its_model_says() -> None:
    shown = shown_keys()
    said = {name: shown[name].comment for name, _, about in keys_below(Settings) if about}
    assert said == {name: about for name, _, about in keys_below(Settings) if about}


def test_the_example_says_which_keys_are_required() -> None:
    shown = shown_keys()
    required = {name for name, key, _ in keys_below(Settings) if key.required}
    assert required - {"secret_key"} == {
        name for name in shown if re.match("required(?! for| or)", shown[name].comment)
    }


def test_nobody_knows_the_password_of_the_example() -> None:
    """A file that is copied to a server unread must not let a guest in."""
    [user] = tomllib.loads(EXAMPLE.read_text())["sign_in"]["users"]
    assert not check_password_hash(user["password_hash"], "demo")
