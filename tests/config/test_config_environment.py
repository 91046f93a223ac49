"""Every key can come from an environment variable, which wins over the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic_core import to_jsonable_python

from gateway.config.environment import read_environment
from gateway.config.faults import Report
from gateway.config.raw_tables import RawTables
from gateway.config.settings import Client, Route, Settings
from gateway.config.tables.table import Kind, Table, keys_of
from tests.config.config_samples import (
    CLIENT,
    ENVIRON,
    ISSUER,
    KEY,
    OTHER_KEY,
    SCOPES,
    USER,
    WEB_CLIENT,
    faults,
    read,
)

# --- What a variable becomes


#: Text as the environment has it, bytes that are no UTF-8 included; and JSON of any shape.
TEXTS = st.binary(max_size=20).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
).map(json.dumps)


def variables(table: type[Table], above: str = "GATEWAY_") -> Iterator[tuple[str, str]]:
    """Yield the variable of every key, with the default of the key as text, or an empty text."""
    for key in keys_of(table).values():
        name = above + key.name.upper()
        if key.kind is Kind.TABLE and key.table:
            yield from variables(key.table, f"{name}__")
        elif key.secret_of or key.required:
            yield name, ""
        else:
            about = table.model_fields[key.field]
            default = to_jsonable_python(
                about.get_default(call_default_factory=True), fallback=dict
            )
            yield name, default if isinstance(default, str) else json.dumps(default)


@pytest.mark.parametrize("variable", [name for name, _ in variables(Settings)])
def test_every_key_can_come_from_the_environment(variable: str) -> None:
    report = Report()
    path = tuple(variable.removeprefix("GATEWAY_").lower().split("__"))
    environment, names = read_environment({variable: "value"}, report)
    assert RawTables(Settings, environment).at(path) == "value"
    assert names[path] == variable
    assert report.faults == []


def test_with_every_default_in_the_environment_nothing_is_changed() -> None:
    environ = {name: text for name, text in variables(Settings) if text not in {"", "null"}}
    assert len(environ) > 40
    assert read(ISSUER, {**ENVIRON, **environ}) == read(ISSUER)


def test_the_environment_alone_is_enough() -> None:
    environ = {"GATEWAY_ISSUER": "https://gateway.example", "GATEWAY_SECRET_KEY": KEY}
    assert read("", environ).issuer == "https://gateway.example"


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("GATEWAY_SERVER__WORKERS", "3", 3),
        ("GATEWAY_SERVER__GRACEFUL_SECONDS", "2.5", 2.5),
        ("GATEWAY_SERVER__GRACEFUL_SECONDS", "2", 2.0),
        ("GATEWAY_UPSTREAM__PASS_AUTHORIZATION", "true", True),
        ("GATEWAY_UPSTREAM__PASS_AUTHORIZATION", "1", True),
        ("GATEWAY_STORE__URL", "redis://store", "redis://store"),
        ("GATEWAY_STORE__KEY_PREFIX", "123", "123"),
        ("GATEWAY_STORE__DATA_DIR", "data", Path("/etc/gateway/data")),
        ("GATEWAY_SERVER__TRUSTED_PROXIES", '["10.0.0.0/8"]', (ip_network("10.0.0.0/8"),)),
        ("GATEWAY_SIGN_IN__UPSTREAM_SESSION__USER", "name", "name"),
        ("GATEWAY_SCOPES", '{"Admin": "Everything"}', {"Admin": "Everything"}),
        ("GATEWAY_SCOPES__PROJECT", "Your projects", {"project": "Your projects"}),
        ("GATEWAY_ROUTES", '[{"path": "/a", "public": true}]', (Route(path="/a", public=True),)),
        ("gateway_server__workers", "3", 3),
    ],
)
def test_a_variable_becomes_the_type_of_its_key(variable: str, text: str, value: object) -> None:
    found: object = read(ISSUER, {**ENVIRON, variable: text})
    for name in variable.lower().removeprefix("gateway_").split("__"):
        found = getattr(found, name, found)
    assert found == value
    assert isinstance(value, dict) or type(found) is type(value)


def test_an_upstream_needs_no_json_and_several_are_a_list() -> None:
    one = {**ENVIRON, "GATEWAY_UPSTREAM__URL": "http://a:1"}
    assert read(ISSUER, one).upstream.urls == ("http://a:1",)
    two = {**ENVIRON, "GATEWAY_UPSTREAM__URL": '["http://a:1", "http://b:1"]'}
    assert read(ISSUER, two).upstream.urls == ("http://a:1", "http://b:1")


def test_a_table_may_be_one_variable_and_a_key_of_it_another() -> None:
    environ = {
        **ENVIRON,
        "GATEWAY_SERVER": '{"workers": 3, "connections": 5}',
        "GATEWAY_SERVER__WORKERS": "4",
    }
    server = read(ISSUER, environ).server
    assert (server.workers, server.connections) == (4, 5)


def test_the_environment_wins_over_the_file_key_by_key() -> None:
    written = f"{ISSUER}[server]\nworkers = 8\nconnections = 5\n{SCOPES}{WEB_CLIENT}{USER}"
    environ = {
        **ENVIRON,
        "GATEWAY_SERVER__WORKERS": "4",
        "GATEWAY_SCOPES__ADMIN": "Everything",
        "GATEWAY_CLIENTS": '[{"client_id": "other", "name": "Other", "redirect_uris": []}]',
        "GATEWAY_SIGN_IN__METHOD": "remote_user",
    }
    lines = faults(written, environ)
    assert lines == [
        (
            "GATEWAY_CLIENTS #1 (other) redirect_uris:"
            " must have one URI or more, for authorization_code"
        )
    ]
    environ["GATEWAY_CLIENTS"] = environ["GATEWAY_CLIENTS"].replace("[]", '["https://a.example/"]')
    settings = read(written, environ)
    assert (settings.server.workers, settings.server.connections) == (4, 5)
    assert settings.scopes == {"project": "See your projects", "admin": "Everything"}
    assert settings.clients == (
        Client(client_id="other", name="Other", redirect_uris=("https://a.example/",)),
    )


def test_an_empty_variable_is_as_good_as_none() -> None:
    environ = {**ENVIRON, "GATEWAY_STORE__URL": "", "GATEWAY_SERVER__WORKERS": " "}
    assert read(ISSUER, environ) == read(ISSUER)


# --- Variables that are none of ours


def test_variables_of_others_are_left_alone() -> None:
    """Those that Kubernetes makes for a service ``gateway``, and those without our prefix."""
    others = {
        "GATEWAY_PORT": "tcp://10.0.0.1:8000",
        "GATEWAY_PORT_8000_TCP_ADDR": "10.0.0.1",
        "GATEWAY_SERVICE_HOST": "10.0.0.1",
        "GATEWAY_CONFIG": "/etc/gateway.toml",
        "ISSUER": "https://evil.example",
        "STORE__URL": "redis://evil",
    }
    assert read(ISSUER, {**ENVIRON, **others}) == read(ISSUER)


def test_a_secret_key_without_our_prefix_is_not_read() -> None:
    [line] = faults(ISSUER, {"SECRET_KEY": KEY, "secret_key": KEY, "GATEWAY_SECRET_KEYS": KEY})
    assert line.startswith("secret_key: is missing")


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("GATEWAY_STORE__URLL", "unknown key; did you mean 'GATEWAY_STORE__URL'?"),
        ("GATEWAY_STOER__URL", "unknown key; did you mean 'GATEWAY_STORE__URL'?"),
        ("GATEWAY_UPSTREAM__URLS", "unknown key; did you mean 'GATEWAY_UPSTREAM__URL'?"),
        ("GATEWAY_CLIENTS__0__NAME", "unknown key; did you mean 'GATEWAY_CLIENTS'?"),
        ("GATEWAY_SERVER__LISTEN_FILE", "unknown key; did you mean 'GATEWAY_SERVER__LISTEN'?"),
        ("GATEWAY_ZZZ__QQQ", "unknown key"),
    ],
)
def test_a_variable_that_looks_like_a_key_and_is_none_is_a_fault(variable: str, line: str) -> None:
    assert faults(ISSUER, {**ENVIRON, variable: "hunter2"}) == [f"{variable}: {line}"]


# --- Faults


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("GATEWAY_SERVER__WORKERS", "three", "must be an integer"),
        ("GATEWAY_SERVER__WORKERS", "2.5", "must be an integer"),
        ("GATEWAY_SERVER__WORKERS", "0", "must be at least 1"),
        ("GATEWAY_STORE__TIMEOUT", "soon", "must be a number"),
        ("GATEWAY_STORE__TIMEOUT", "nan", "must be a finite number"),
        ("GATEWAY_AUDIT__REQUESTS", "perhaps", "must be true or false"),
        ("GATEWAY_STORE__URL", "mysql://me:hunter2@host", "must be embedded, or a URL"),
        ("GATEWAY_SERVER__TRUSTED_PROXIES", "10.0.0.1", "must be an array, as JSON"),
        ("GATEWAY_SERVER__TRUSTED_PROXIES", "[1]", "#1 must be a string, not an integer"),
        ("GATEWAY_SERVER__TRUSTED_PROXIES", '["x"]', "'x' must be an IP address"),
        ("GATEWAY_UPSTREAM__HEADERS", "X-A: hunter2", "must be a table, as JSON"),
        ("GATEWAY_UPSTREAM__HEADERS", '["hunter2"]', "must be one table, as JSON"),
        ("GATEWAY_CLIENTS", '{"hunter2": 1}', "must be an array of tables, as JSON"),
        ("GATEWAY_STORE", "redis://me:hunter2@host", "must be a table, as JSON"),
        ("GATEWAY_CLIENTS", "hunter2", "must be an array of tables, as JSON"),
        ("GATEWAY_SCOPES", '{"\\ud800": "hunter2"}', "must be a table, as JSON"),
        ("GATEWAY_CLIENTS", "[" * 100_000, "must be an array of tables, as JSON"),
        ("GATEWAY_PROVIDER__PKCE", "requird", "must be one of required, optional; did you mean"),
        ("GATEWAY_ISSUER", "gateway.example", "must be an http or https URL"),
    ],
)
def test_a_faulty_value_is_named_by_its_variable(variable: str, text: str, line: str) -> None:
    [fault] = faults(ISSUER, {**ENVIRON, variable: text})
    assert fault.startswith(f"{variable}: {line}")
    assert "hunter2" not in fault


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("GATEWAY_SERVER", '{"workers": true}', " workers: must be an integer, not a boolean"),
        ("GATEWAY_SERVER", '{"wokers": 1}', " wokers: unknown key; did you mean 'workers'?"),
        ("GATEWAY_ROUTES", '[{"path": "/a"}, {"path": "b"}]', " #2 path: must begin with '/'"),
        ("GATEWAY_ROUTES", '[{"path": "/a"}, 5]', ": #2 must be a table, not an integer"),
        (
            "GATEWAY_ROUTES",
            '[{"path": "/a", "methods": ["get"]}]',
            " #1 (/a) methods: 'get' must be a method in upper case",
        ),
    ],
)
def test_a_fault_inside_of_json_says_where(variable: str, text: str, line: str) -> None:
    assert faults(ISSUER, {**ENVIRON, variable: text}) == [variable + line]


def test_a_fault_between_keys_is_named_by_the_variable_of_the_one_to_change() -> None:
    environ = {**ENVIRON, "GATEWAY_TOKENS__REFRESH_GRACE_SECONDS": "9000000"}
    assert faults(ISSUER, environ) == [
        "GATEWAY_TOKENS__REFRESH_GRACE_SECONDS: must be at most refresh_seconds, 2592000"
    ]


def test_a_fault_of_the_file_beside_a_variable_keeps_its_name() -> None:
    written = f"{ISSUER}[server]\nworkers = '2'\nconnections = 0\n"
    assert faults(written, {**ENVIRON, "GATEWAY_SERVER": '{"workers": 0}'}) == [
        "GATEWAY_SERVER workers: must be at least 1",
        "[server] connections: must be at least 1",
    ]


def test_faults_of_both_sources_come_at_once() -> None:
    environ = {"GATEWAY_STORE__TIMEOUT": "x", "GATEWAY_STORE__URLL": "x"}
    assert faults(f"{ISSUER}[server]\nworkers = 0\n{CLIENT}", environ) == [
        "GATEWAY_STORE__URLL: unknown key; did you mean 'GATEWAY_STORE__URL'?",
        "[server] workers: must be at least 1",
        "GATEWAY_STORE__TIMEOUT: must be a number",
        (
            "secret_key: is missing; run `gateway new-secret`, and set it here or as"
            " GATEWAY_SECRET_KEY, or name a secret_key_file"
        ),
        (
            "[sign_in] method: is password, and there are no [[sign_in.users]]"
            " for [[clients]] #1 (my-app)"
        ),
        "[[clients]] #1 (my-app) redirect_uris: must have one URI or more, for authorization_code",
    ]


@hypothesis_settings(max_examples=200, deadline=None)
@given(st.sampled_from([name for name, _ in variables(Settings)]), TEXTS)
def test_whatever_stands_in_a_variable_each_fault_is_one_line(variable: str, text: str) -> None:
    for line in faults(ISSUER, {**ENVIRON, variable: text}):
        assert line.isprintable()
        assert line.startswith(("GATEWAY_", "[", "secret_key: is missing"))


# --- The secret key


def test_a_variable_holds_several_secret_keys_as_a_file_does() -> None:
    """One a line, newest first: so keys can be rotated by the environment as well."""
    environ = {"GATEWAY_SECRET_KEY": f"{KEY}\n\n  {OTHER_KEY}\r\n"}
    assert read(ISSUER, environ).secret_keys == (KEY.encode(), OTHER_KEY.encode())


def test_the_faulty_one_of_several_keys_in_a_variable_is_named_by_its_position() -> None:
    assert faults(ISSUER, {"GATEWAY_SECRET_KEY": f"{KEY}\nhunter2\n"}) == [
        "GATEWAY_SECRET_KEY: #2 must have at least 32 bytes, not 7; run `gateway new-secret`"
    ]


def test_equal_lists_of_keys_in_file_and_environment_are_no_fault() -> None:
    written = f'secret_key = ["{KEY}", "{OTHER_KEY}"]\n{ISSUER}'
    assert faults(written, {"GATEWAY_SECRET_KEY": f"{KEY}\n{OTHER_KEY}"}) == []
    swapped = {"GATEWAY_SECRET_KEY": f"{OTHER_KEY}\n{KEY}"}
    assert faults(written, swapped) == [
        "GATEWAY_SECRET_KEY: is not the key of the file; set one of the two"
    ]
