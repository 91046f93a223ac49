"""Reading a configuration file: what it becomes, and how every fault of it is named."""

from __future__ import annotations

import json
import os
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.config.file import ConfigError, ConfigFault, load_config, settings_from_toml
from gateway.config.settings import Client, Route, Settings, Store, Upstream, User
from gateway.config.tables.table import Kind, Table, keys_of
from tests.config.config_samples import (
    CLIENT,
    ENVIRON,
    ISSUER,
    KEY,
    OTHER_KEY,
    SCOPES,
    USER,
    USER_HASH,
    WEB_CLIENT,
    faults,
    read,
)

# --- What a file becomes


def test_an_issuer_and_a_secret_key_are_enough() -> None:
    settings = read(ISSUER)
    assert settings.issuer == "http://localhost:8000"
    assert settings.secret_keys == (KEY.encode(),)
    assert settings == Settings(
        issuer="http://localhost:8000",
        secret_keys=(KEY.encode(),),
        store=Store(data_dir=Path("/etc/gateway/gateway-data")),
    )


def test_values_become_the_types_of_their_fields() -> None:
    settings = read(
        ISSUER
        + '[server]\ntrusted_proxies = ["10.0.0.0/8", "::1"]\ngraceful_seconds = 5\n'
        + '[upstream]\nurl = ["http://a:1", "unix:/run/b.sock"]\nheaders = { X-Site = "main" }\n'
        + SCOPES
        + WEB_CLIENT
        + 'scopes = ["project"]\n'
        + USER
        + '[[routes]]\npath = "/a/**"\nmethods = ["GET", "PUT"]\nscopes = ["project"]\n'
    )
    assert settings.server.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert isinstance(settings.server.graceful_seconds, float)
    assert settings.upstream == Upstream(
        urls=("http://a:1", "unix:/run/b.sock"), headers={"X-Site": "main"}
    )
    assert settings.scopes == {"project": "See your projects"}
    assert settings.clients == (
        Client(
            client_id="my-app",
            name="My App",
            redirect_uris=("https://app.example/cb",),
            scopes=("project",),
        ),
    )
    assert settings.sign_in.users == (User(name="demo", password_hash=USER_HASH),)
    assert settings.routes == (Route(path="/a/**", methods=("GET", "PUT"), scopes=("project",)),)


def test_settings_cannot_be_changed() -> None:
    settings = read(ISSUER + SCOPES + '[upstream]\nheaders = { A = "b" }\n')
    for mapping in (settings.scopes, settings.upstream.headers):
        with pytest.raises(TypeError):
            mapping["x"] = "y"  # type: ignore[index]  # that is the point
    assert hash(settings.clients) == hash(())


def test_one_upstream_url_needs_no_list() -> None:
    assert read(ISSUER + '[upstream]\nurl = "https://b:8443"\n').upstream.urls == (
        "https://b:8443",
    )


def test_relative_paths_are_relative_to_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ca.pem", "client.pem"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "keys").write_text(f"{KEY}\n")
    (tmp_path / "keys").chmod(0o640)
    (tmp_path / "logs").mkdir()
    (tmp_path / "gateway.toml").write_text(
        'secret_key_file = "keys"\n'
        + ISSUER
        + '[upstream]\nurl = "https://b"\nca_file = "ca.pem"\n'
        + '[store]\nurl = "rediss://r"\ndata_dir = "data"\ncert_file = "./client.pem"\n'
        + '[audit]\nfile = "logs/audit.log"\n'
    )
    monkeypatch.chdir("/")
    monkeypatch.delenv("GATEWAY_SECRET_KEY", raising=False)
    settings = load_config(os.path.relpath(tmp_path / "gateway.toml"))
    assert settings.secret_keys == (KEY.encode(),)
    assert settings.upstream.ca_file == tmp_path / "ca.pem"
    assert settings.store.data_dir == tmp_path / "data"
    assert settings.store.cert_file == tmp_path / "client.pem"
    assert settings.audit.file == str(tmp_path / "logs/audit.log")


def test_absolute_paths_stay() -> None:
    settings = read(ISSUER + '[store]\ndata_dir = "/var/lib/gateway"\n')
    assert settings.store.data_dir == Path("/var/lib/gateway")


def test_the_digest_of_a_secret_is_lower_case() -> None:
    settings = read(ISSUER + WEB_CLIENT + f'secret_sha256 = "{"AB" * 32}"\n' + USER)
    assert settings.clients[0].secret_sha256 == "ab" * 32


# --- Files that cannot be read at all


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


# --- All faults at once


def test_a_file_with_ten_faults_names_all_ten() -> None:
    written = """
        issuer = "http://gateway.example"
        secret_key = "too short"

        [server]
        lisen = "127.0.0.1:8000"
        workers = true

        [upstream]
        url = "http://127.0.0.1:8080/app"

        [tokens]
        code_seconds = 3600

        [scopes]
        project = "See and change your projects"

        [[clients]]
        client_id = "first"
        name = "First"
        redirect_uris = ["http://evil.example/cb"]

        [[clients]]
        client_id = "second"
        redirect_uris = ["https://app.example/cb"]
        scopes = ["projects"]

        [[routes]]
        path = "api"
    """
    assert faults(written, environ={}) == [
        "secret_key: must have at least 32 bytes, not 9; run `gateway new-secret`",
        "[server] lisen: unknown key; did you mean 'listen'?",
        "[server] workers: must be an integer, not a boolean",
        (
            "[upstream] url: must end after the host and port:"
            " the client's target is forwarded byte for byte"
        ),
        "[tokens] code_seconds: must be at most 600",
        (
            "[[clients]] #1 (first) redirect_uris: 'http://evil.example/cb'"
            " uses http to a host that is not the user's own machine; use https"
        ),
        "[[clients]] #2 (second) name: is missing",
        "[[routes]] #1 path: must begin with '/'",
        "issuer: must be https, or of a loopback host, unless allow_insecure_issuer = true",
        (
            "[sign_in] method: is password, and there are no [[sign_in.users]]"
            " for [[clients]] #1 (first)"
        ),
        "[[clients]] #2 (second) scopes: 'projects' is not in [scopes]; did you mean 'project'?",
    ]


def test_an_error_holds_its_faults_as_values() -> None:
    with pytest.raises(ConfigError) as raised:
        read(ISSUER + "[server]\nlisen = 1\nwrokers = 2\n")
    assert raised.value.faults == (
        ConfigFault("[server] lisen", "unknown key", "listen"),
        ConfigFault("[server] wrokers", "unknown key", "workers"),
    )
    assert isinstance(raised.value, ValueError)


def test_an_empty_file_lacks_what_is_required() -> None:
    assert faults("", environ={}) == [
        "issuer: is missing",
        (
            "secret_key: is missing; run `gateway new-secret`, and set it here or as"
            " GATEWAY_SECRET_KEY, or name a secret_key_file"
        ),
    ]


def test_required_keys_of_tables_are_missing_by_name() -> None:
    assert faults(ISSUER + '[[routes]]\n[[sign_in.users]]\nname = "demo"\n') == [
        "[[routes]] #1 path: is missing",
        "[[sign_in.users]] #1 (demo) password_hash: is missing",
    ]


# --- Unknown names


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("isuer2 = 1", "isuer2: unknown key; did you mean 'issuer'?"),
        ("[servr]", "[servr]: unknown table; did you mean '[server]'?"),
        ("[[client]]", "[[client]]: unknown table; did you mean '[[clients]]'?"),
        ("[[user]]", "[[user]]: unknown table"),
        ("[identity]\nusr = 'X'", "[identity] usr: unknown key; did you mean 'user'?"),
        ("[server]\nzzz = 1", "[server] zzz: unknown key"),
        ("[server.tls]", "[server.tls]: unknown table"),
        ("[sign_in.remote_usr]", "[sign_in.remote_usr]: unknown table;"),
        ("'a b\\n' = 1", "'a b\\\\n': unknown key"),
        ('"two\\nlines" = 1', "'two\\nlines': unknown key"),
    ],
)
def test_an_unknown_name_is_a_fault_with_the_nearest_known_one(written: str, line: str) -> None:
    text = f"{written}\n{ISSUER}" if "[" not in written else ISSUER + written
    [fault] = faults(text)
    assert fault.startswith(line)


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("[identity]\nsecret_key = 'x'", "[identity] secret_key: unknown key;"),
        ("[server]\naccess_seconds = 1", "did you mean '[tokens] access_seconds'?"),
        ("[server.users]", "did you mean '[[sign_in.users]]'?"),
    ],
)
def test_a_key_in_the_wrong_table_is_shown_its_own(written: str, line: str) -> None:
    [fault] = faults(ISSUER + written)
    assert line in fault


def test_a_misspelt_required_key_is_one_fault_not_two() -> None:
    assert faults('isuer = "http://localhost:8000"') == [
        "isuer: unknown key; did you mean 'issuer'?"
    ]


def test_a_misspelt_key_makes_no_further_fault_by_its_absence() -> None:
    written = ISSUER + CLIENT + 'redirect_uri = ["https://a.example/"]\n' + USER
    [line] = faults(written)
    assert line.endswith("redirect_uri: unknown key; did you mean 'redirect_uris'?")


@pytest.mark.parametrize("key", ["secret", "client_secret"])
def test_a_client_secret_in_plain_text_is_told_how_to_be_kept(key: str) -> None:
    written = ISSUER + CLIENT + f'grant_types = ["client_credentials"]\n{key} = "hunter2"\n'
    [line] = faults(written)
    assert line.startswith(f"[[clients]] #1 (my-app) {key}: unknown key: ")
    assert "printf %s SECRET | sha256sum" in line
    assert line.endswith("did you mean 'secret_sha256'?")
    assert "hunter2" not in line


def test_a_password_in_plain_text_is_told_how_to_be_kept() -> None:
    [line] = faults(ISSUER + '[[sign_in.users]]\nname = "demo"\npassword = "hunter2"\n')
    assert "`gateway hash-password`" in line
    assert "hunter2" not in line


# --- Types and ranges


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("[server]\nworkers = true", "[server] workers: must be an integer, not a boolean"),
        ("[server]\nworkers = 2.0", "[server] workers: must be an integer, not a float"),
        ("[server]\nworkers = '2'", "[server] workers: must be an integer, not a string"),
        ("[server]\nworkers = 0", "[server] workers: must be at least 1"),
        ("[server]\nconnections = 0", "[server] connections: must be at least 1"),
        ("[server]\ngraceful_seconds = -1", "[server] graceful_seconds: must be 0 or more"),
        ("[server]\nlisten = 8000", "[server] listen: must be a string, not an integer"),
        ("[server]\ntrusted_proxies = '::1'", "must be an array, not a string"),
        ("[server]\ntrusted_proxies = [1]", "#1 must be a string, not an integer"),
        ("[upstream]\nread_timeout = 0", "[upstream] read_timeout: must be more than 0"),
        ("[upstream]\nread_timeout = true", "must be a number, not a boolean"),
        ("[upstream]\nread_timeout = 12:00:00", "must be a number, not a date or time"),
        ("[upstream]\nconnect_timeout = inf", "must be a finite number"),
        ("[upstream]\nconnect_timeout = nan", "must be a finite number"),
        ("[upstream]\ntotal_timeout = -0.1", "must be 0 or more"),
        ("[upstream]\nurl = []", "[upstream] url: must not be empty"),
        ("[upstream]\npass_authorization = 1", "must be true or false, not an integer"),
        ("[upstream]\nheaders = []", "[upstream.headers]: must be one table;"),
        ("[upstream]\nheaders = { A = 1 }", "[upstream.headers] A: must be a string"),
        ("[store]\ntimeout = 0", "[store] timeout: must be more than 0"),
        ("[store]\nconnections = 0", "[store] connections: must be at least 1"),
        ("[store]\ndata_dir = ''", "[store] data_dir: must be the name of a file"),
        ('[store]\ndata_dir = "\\u0000"', "[store] data_dir: must be the name of a file"),
        ("[tokens]\naccess_seconds = 0", "[tokens] access_seconds: must be at least 1"),
        ("[tokens]\ncode_seconds = 601", "[tokens] code_seconds: must be at most 600"),
        ("[tokens]\ngrant_seconds = 9_000_000_000", "[tokens] grant_seconds: must be at most"),
        ("[limits]\nsign_in_attempts = 0", "[limits] sign_in_attempts: must be at least 1"),
        ("[limits]\nform_bytes = 0", "[limits] form_bytes: must be at least 1"),
        ("[audit]\nfile = ''", "[audit] file: must be the name of a file"),
        ("[audit]\nrequests = 'no'", "[audit] requests: must be true or false, not a string"),
        ("[provider]\nconsent = 'allways'", "remember, always, never; did you mean 'always'?"),
        ("[provider]\npkce = 'no'", "[provider] pkce: must be one of required, optional"),
        ("[sign_in]\nmethod = 'ldap'", "must be one of password, remote_user, upstream_session"),
        ("[sign_in]\nsession_seconds = 0", "[sign_in] session_seconds: must be at least 1"),
        ("[scopes]\na = ['b']", "[scopes] a: must be a string, not an array"),
        ("[[server]]", "[server]: must be one table; write [server], in single brackets"),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_a_fault(written: str, line: str) -> None:
    [fault] = faults(ISSUER + written)
    assert line in fault


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("server = 5", "[server]: must be a table, not an integer"),
        ("scopes = 'project'", "[scopes]: must be a table, not a string"),
        ("clients = 'my-app'", "[[clients]]: must be an array of tables, not a string"),
        ("clients = [{}, 5]", "[[clients]]: #2 must be a table, not an integer"),
    ],
)
def test_a_table_that_is_none_is_a_fault(written: str, line: str) -> None:
    assert faults(f"{written}\n{ISSUER}")[-1] == line


@pytest.mark.parametrize("table", ["clients", "routes", "sign_in.users"])
def test_a_single_table_for_an_array_is_told_about_double_brackets(table: str) -> None:
    assert faults(f"{ISSUER}[{table}]\nname = 'x'\n") == [
        f"[[{table}]]: must be an array of tables; write [[{table}]], in double brackets"
    ]


# --- The secret key


def test_a_list_of_secret_keys_keeps_its_order() -> None:
    written = f'secret_key = ["{KEY}", "{OTHER_KEY}"]\n{ISSUER}'
    assert read(written, environ={}).secret_keys == (KEY.encode(), OTHER_KEY.encode())


def test_the_environment_may_repeat_the_key_of_the_file() -> None:
    assert read(f'secret_key = "{KEY}"\n{ISSUER}').secret_keys == (KEY.encode(),)


def test_the_line_end_of_a_mounted_secret_is_not_part_of_it() -> None:
    assert read(ISSUER, environ={"GATEWAY_SECRET_KEY": f"{KEY}\n"}).secret_keys == (KEY.encode(),)


def test_a_secret_key_is_measured_in_bytes() -> None:
    assert faults(f'secret_key = "{"ü" * 16}"\n{ISSUER}', environ={}) == []


def test_a_secret_key_that_is_not_utf_8_is_taken_from_the_environment_as_it_is() -> None:
    raw = b"\xff" * 32
    environ = {"GATEWAY_SECRET_KEY": raw.decode("utf-8", "surrogateescape")}
    assert read(ISSUER, environ).secret_keys == (raw,)


def test_different_keys_in_file_and_environment_are_a_fault() -> None:
    written = f'secret_key = "{OTHER_KEY}"\n{ISSUER}'
    assert faults(written) == ["GATEWAY_SECRET_KEY: is not the key of the file; set one of the two"]


def test_a_secret_key_and_a_file_of_them_are_a_fault() -> None:
    written = f'secret_key = "{KEY}"\nsecret_key_file = "keys"\n{ISSUER}'
    assert faults(written, environ={}) == ["secret_key_file: must not be there beside secret_key"]


def key_file_faults(tmp_path: Path, content: bytes, mode: int = 0o600) -> list[str]:
    (tmp_path / "keys").write_bytes(content)
    (tmp_path / "keys").chmod(mode)
    try:
        settings_from_toml(f'secret_key_file = "keys"\n{ISSUER}', base=tmp_path, environ={})
    except ConfigError as error:
        return str(error).split("\n")
    return []


def test_a_secret_key_file_has_one_key_a_line_newest_first(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n\n  {OTHER_KEY}\r\n")
    (tmp_path / "keys").chmod(0o600)
    written = f'secret_key_file = "keys"\n{ISSUER}'
    settings = settings_from_toml(written, base=tmp_path, environ={})
    assert settings.secret_keys == (KEY.encode(), OTHER_KEY.encode())


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_a_secret_key_file_that_is_open_to_everybody_is_a_fault(tmp_path: Path, mode: int) -> None:
    assert key_file_faults(tmp_path, KEY.encode(), mode) == [
        "secret_key_file: is open to every user of this machine; run `chmod o= FILE`"
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no key in it; run `gateway new-secret`"),
        (b"\n \n", "has no key in it; run `gateway new-secret`"),
        (b"\xff" * 32, "is not UTF-8"),
        (b"k" * 32 + b"\nshort", "#2 must have at least 32 bytes, not 5"),
    ],
)
def test_a_secret_key_file_without_good_keys_is_a_fault(
    tmp_path: Path, content: bytes, why: str
) -> None:
    [line] = key_file_faults(tmp_path, content)
    assert line.startswith(f"secret_key_file: {why}")


def test_a_secret_key_file_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="secret_key_file: cannot be read: No such file"):
        settings_from_toml(f'secret_key_file = "keys"\n{ISSUER}', base=tmp_path, environ={})


@pytest.mark.parametrize(
    ("written", "environ"),
    [
        ('secret_key = "hunter2"\n', {}),
        ('secret_key = ["hunter2", "hunter2"]\n', {}),
        ('secret_key = "hunter2\n', {}),
        ('secret_key = {hunter2 = "hunter2"}\n', {}),
        (f'secret_key = "{KEY}hunter2"\n', ENVIRON),
        ("", {"GATEWAY_SECRET_KEY": "hunter2"}),
        ("", {"GATEWAY_SECRET_KEY": "hunter2\udcff"}),
        (f"secret_sha256 = 'hunter2'\n{ISSUER}", ENVIRON),
        (f"{ISSUER}{CLIENT}secret_sha256 = 'hunter2'\n", ENVIRON),
        (f"{ISSUER}[[sign_in.users]]\nname = 'demo'\npassword_hash = 'hunter2'\n", ENVIRON),
        (f"{ISSUER}[store]\nurl = 'redis://me:hunter2@host:port'\n", ENVIRON),
        (f"{ISSUER}[store]\nurl = 'redis://hunter2@host'\n", ENVIRON),
        (f"{ISSUER}[upstream]\nurl = ['http://me:hunter2@host']\n", ENVIRON),
        (f"{ISSUER}[upstream]\nheaders = {{ Authorization = '\x7fhunter2' }}\n", ENVIRON),
        ("issuer = 'https://me:hunter2@host'\n", ENVIRON),
    ],
)
def test_no_message_has_a_secret_in_it(written: str, environ: dict[str, str]) -> None:
    lines = faults(written if "issuer" in written else written + ISSUER, environ)
    assert lines
    assert not [line for line in lines if "hunter2" in line]


# --- Anything at all

STRINGS = st.text(
    st.characters(min_codepoint=32, max_codepoint=255), max_size=12
) | st.sampled_from(
    ["http://[", "https://a", "/a", "authorization_code", "GET", "project", "[::1]:1", "X-A", "-"]
)
VALUES = st.recursive(
    st.booleans() | st.integers(-2, 1 << 40) | st.floats() | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=6,
)


def like(table: type[Table]) -> st.SearchStrategy[dict[str, Any]]:
    """Make tables that have the keys of ``table``, with any values."""
    keys: dict[str, st.SearchStrategy[Any]] = {}
    for name, key in keys_of(table).items():
        if key.table is None:
            keys[name] = VALUES
        elif key.kind is Kind.TABLE:
            keys[name] = like(key.table) | VALUES
        else:
            keys[name] = st.lists(like(key.table), max_size=2) | VALUES
    return st.fixed_dictionaries({}, optional=keys)


def toml(value: Any) -> str:
    """Write a value as TOML."""
    match value:
        case dict():
            pairs = ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items())
            return f"{{{pairs}}}"
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case str():
            return json.dumps(value)
        case bool():
            return str(value).lower()
        case _:
            return str(value)


@hypothesis_settings(max_examples=60, deadline=None)
@given(like(Settings))
def test_whatever_stands_in_a_file_each_fault_is_one_line(raw: dict[str, Any]) -> None:
    written = "".join(f"{key} = {toml(value)}\n" for key, value in raw.items())
    assert tomllib.loads(written).keys() == raw.keys()
    for line in faults(written):
        assert line.isprintable()
        assert not line.startswith("the configuration: ")
