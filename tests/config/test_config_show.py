"""What is shown of the configuration in force: every key, its value, its origin, and no secret."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.config.file import Configuration, read_configuration
from gateway.config.settings import Settings
from gateway.config.show import as_json, as_toml
from gateway.config.tables.table import Table, keys_of
from tests.config.config_samples import ISSUER, KEY, OTHER_KEY, SCOPES, USER, USER_HASH, WEB_CLIENT

SHA256 = "1a" * 32
WRITTEN = f"""
secret_key_file = "keys"
{ISSUER}
[server]
workers = 8
[upstream]
headers = {{ Authorization = "Bearer hunter2" }}
[store]
url_file = "url"
data_dir = "data"
{SCOPES}
{WEB_CLIENT}scopes = ["project"]
secret_sha256 = "{SHA256}"
{USER}
[[routes]]
path = "/a \\"quoted\\" path/**"
"""


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configuration:
    """A configuration with keys from everywhere, and secrets wherever one can be."""
    for name, content in (
        ("keys", f"{KEY}\n{OTHER_KEY}\n"),
        ("url", "redis+sentinel://me:hunter2@store/service/0"),
        ("gateway.toml", WRITTEN),
    ):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("GATEWAY_SERVER__CONNECTIONS", "5")
    monkeypatch.setenv("GATEWAY_STORE__SENTINEL_PASSWORD", "hunter2")
    monkeypatch.setenv("GATEWAY_SCOPES__ADMIN", "Everything")
    monkeypatch.setenv("GATEWAY_SCOPES", '{"files": "Your files"}')
    return read_configuration(tmp_path / "gateway.toml")


def test_every_value_is_shown_with_its_origin(configuration: Configuration, tmp_path: Path) -> None:
    shown = json.loads(as_json(configuration))
    secret_file = f"secret file {tmp_path / 'url'}"
    for key, value, origin in (
        (shown["issuer"], "http://localhost:8000", "file"),
        (shown["allow_insecure_issuer"], False, "default"),
        (shown["server"]["listen"], "127.0.0.1:8000", "default"),
        (shown["server"]["workers"], 8, "file"),
        (shown["server"]["connections"], 5, "GATEWAY_SERVER__CONNECTIONS"),
        (shown["store"]["url"], "redis+sentinel://me:(hidden)@store/service/0", secret_file),
        (shown["store"]["data_dir"], str(tmp_path / "data"), "file"),
        (shown["store"]["ca_file"], None, "default"),
        (shown["scopes"]["project"], "See your projects", "file"),
        (shown["scopes"]["admin"], "Everything", "GATEWAY_SCOPES__ADMIN"),
        (shown["scopes"]["files"], "Your files", "GATEWAY_SCOPES"),
        (shown["clients"][0]["client_id"], "my-app", "file"),
        (shown["clients"][0]["skip_consent"], False, "default"),
        (shown["routes"][0]["path"], '/a "quoted" path/**', "file"),
        (shown["sign_in"]["upstream_session"]["user"], "message", "default"),
    ):
        assert key == {"value": value, "from": origin}


def test_secrets_are_hidden_and_their_origin_is_not(
    configuration: Configuration, tmp_path: Path
) -> None:
    shown = json.loads(as_json(configuration))
    for key, value, origin in (
        (shown["secret_key"], ["(hidden)", "(hidden)"], f"secret file {tmp_path / 'keys'}"),
        (shown["store"]["sentinel_password"], "(hidden)", "GATEWAY_STORE__SENTINEL_PASSWORD"),
        (shown["upstream"]["headers"]["Authorization"], "(hidden)", "file"),
        (shown["clients"][0]["secret_sha256"], "(hidden)", "file"),
        (shown["sign_in"]["users"][0]["password_hash"], "(hidden)", "file"),
    ):
        assert key == {"value": value, "from": origin}
    for text in (as_json(configuration), as_toml(configuration)):
        for secret in ("hunter2", KEY, OTHER_KEY, SHA256, USER_HASH):
            assert secret not in text


def keys_shown(table: type[Table], shown: Any) -> Iterator[tuple[str, bool]]:
    """Yield every key of ``table`` and of the tables in it, and whether it is shown."""
    for key in keys_of(table).values():
        if key.secret_of:
            continue
        yield f"{table.__name__}.{key.name}", key.name in shown
        below = shown.get(key.name, {})
        if key.table is not None:
            yield from keys_shown(key.table, below[0] if isinstance(below, list) else below)


def test_no_key_is_left_out(configuration: Configuration) -> None:
    shown = dict(keys_shown(Settings, json.loads(as_json(configuration))))
    assert len(shown) > 70
    assert [key for key, is_shown in shown.items() if not is_shown] == []


def test_for_people_it_is_a_file_with_the_origins_as_comments(
    configuration: Configuration, tmp_path: Path
) -> None:
    text = as_toml(configuration)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "[server]",
        "workers = 8 # file",
        "connections = 5 # GATEWAY_SERVER__CONNECTIONS",
        "# ca_file is not set",
        "[[clients]]",
        'secret_sha256 = "(hidden)" # file',
        f'secret_key = ["(hidden)", "(hidden)"] # secret file {tmp_path / "keys"}',
    ):
        assert line in lines
    # The same values, read as TOML; TOML has no null.
    assert tomllib.loads(text) == values(json.loads(as_json(configuration)))


def values(shown: Any) -> Any:
    """Return the values alone, without those that are not set."""
    if isinstance(shown, list):
        return [values(each) for each in shown]
    if shown.keys() == {"value", "from"}:
        return shown["value"]
    return {
        name: values(each)
        for name, each in shown.items()
        if isinstance(each, list) or each.get("value", "") is not None
    }


def test_what_is_empty_is_shown_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SECRET_KEY", KEY)
    (tmp_path / "gateway.toml").write_text(ISSUER)
    shown = json.loads(as_json(read_configuration(tmp_path / "gateway.toml")))
    for empty, value in (("scopes", {}), ("clients", []), ("routes", [])):
        assert shown[empty] == {"value": value, "from": "default"}
    assert shown["secret_key"] == {"value": ["(hidden)"], "from": "GATEWAY_SECRET_KEY"}
