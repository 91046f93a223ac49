"""All faults of a file are named at once, each with its table, its key and what would be right."""

from __future__ import annotations

import pytest

from gateway.config.file import ConfigError, ConfigFault
from tests.config.config_samples import CLIENT, ISSUER, USER, faults, read

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
