"""What may be said of scopes, clients, users and routes."""

from __future__ import annotations

import pytest
from werkzeug.security import generate_password_hash

from gateway.config.credential_grammar import password_hash_fault
from gateway.config.file import client_faults
from gateway.config.settings import Client, Route
from tests.config.config_samples import (
    CLIENT,
    ISSUER,
    SCOPES,
    USER,
    WEB_CLIENT,
    faults,
    read,
)

# --- Scopes and clients


@pytest.mark.parametrize("scope", ["a b", 'a\\"', "a\\\\", "ü", "", "a\\n"])
def test_the_name_of_a_scope_is_a_scope_token(scope: str) -> None:
    [line] = faults(f'{ISSUER}[scopes]\n"{scope}" = "Words"\n')
    assert line.endswith("must be a scope-token (RFC 6749 section 3.3)")


@pytest.mark.parametrize("words", ["", " ", "a\\u0007"])
def test_a_scope_is_said_in_words(words: str) -> None:
    [line] = faults(f'{ISSUER}[scopes]\nproject = "{words}"\n')
    assert line.startswith("[scopes] project: must ")


def test_a_faulty_scope_is_known_nevertheless() -> None:
    written = f'{ISSUER}[scopes]\nproject = ""\n{WEB_CLIENT}scopes = ["project"]\n{USER}'
    assert faults(written) == ["[scopes] project: must not be empty"]


def test_scopes_that_cannot_be_read_make_no_others_unknown() -> None:
    written = f'scopes = "project"\n{ISSUER}{WEB_CLIENT}scopes = ["project"]\n{USER}'
    assert faults(written) == ["[scopes]: must be a table, not a string"]


def faults_of_client(keys: str, client: str = WEB_CLIENT) -> list[str]:
    """Return the faults of one client, less its header."""
    lines = faults(ISSUER + SCOPES + client + keys + "\n" + USER)
    return [line.removeprefix("[[clients]] #1 (my-app) ") for line in lines]


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "javascript:alert(1)",
        "http://app.example/cb",
        "https://app.example/cb#fragment",
        "/relative",
        "https://me@app.example/",
        "",
    ],
)
def test_a_redirect_uri_that_may_not_be_registered_is_a_fault(redirect_uri: str) -> None:
    [line] = faults_of_client(f'redirect_uris = ["https://a.example/", "{redirect_uri}"]', CLIENT)
    assert line.startswith(f"redirect_uris: '{redirect_uri}' ")


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("scopes = ['prject']", "scopes: 'prject' is not in [scopes]; did you mean 'project'?"),
        ("scopes = ['project', 'project']", "scopes: 'project' is there twice"),
        ("grant_types = []", "grant_types: must not be empty"),
        ("pkce = 'never'", "pkce: must be one of required, optional"),
        ("skip_consent = 'yes'", "skip_consent: must be true or false, not a string"),
        (
            "grant_types = ['authorisation_code']",
            (
                "grant_types: 'authorisation_code' must be one of authorization_code,"
                " refresh_token, client_credentials; did you mean 'authorization_code'?"
            ),
        ),
        (
            "grant_types = ['authorization_code', 'client_credentials']",
            (
                "grant_types: must not have client_credentials without secret_sha256"
                " (RFC 6749 section 4.4)"
            ),
        ),
        (
            "grant_types = ['refresh_token']",
            "redirect_uris: must not be there without authorization_code",
        ),
        (
            "secret_sha256 = 'abc'",
            "secret_sha256: must be 64 hexadecimal digits, the SHA-256 of the secret",
        ),
        (
            "secret_sha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'",
            "secret_sha256: is the SHA-256 of an empty secret",
        ),
    ],
)
def test_a_faulty_key_of_a_client_is_named(keys: str, line: str) -> None:
    assert faults_of_client(keys) == [line]


def test_a_client_that_asks_for_codes_needs_a_redirect_uri() -> None:
    why = "redirect_uris: must have one URI or more, for authorization_code"
    assert faults_of_client("", CLIENT) == [why]
    assert faults_of_client("redirect_uris = []", CLIENT) == [why]


def test_a_client_that_asks_for_no_codes_needs_no_redirect_uri_and_no_users() -> None:
    keys = f'grant_types = ["client_credentials"]\nsecret_sha256 = "{"1a" * 32}"\n'
    assert faults(ISSUER + CLIENT + keys) == []


@pytest.mark.parametrize("client_id", ["", "a\\n", "ü", "a" * 256, "\\u007f"])
def test_a_client_id_is_printable_ascii(client_id: str) -> None:
    lines = faults(f'{ISSUER}[[clients]]\nclient_id = "{client_id}"\nname = "A"\n')
    assert "[[clients]] #1 client_id: must be 1 to 255 printable ASCII characters" in lines[0]


@pytest.mark.parametrize("name", ["", " ", "a\\nb", "\\u202e", "\\u200e", "\\u2066a", "\\ufeff"])
def test_a_client_has_a_name_to_show(name: str) -> None:
    lines = faults(f'{ISSUER}[[clients]]\nclient_id = "my-app"\nname = "{name}"\n')
    assert lines[0].startswith("[[clients]] #1 (my-app) name: must ")


def test_two_clients_cannot_share_an_id() -> None:
    assert faults(ISSUER + WEB_CLIENT + WEB_CLIENT + USER) == [
        "[[clients]] #2 (my-app) client_id: is that of #1 already"
    ]


def test_a_client_for_the_store_is_judged_by_the_rules_of_the_file() -> None:
    settings = read(ISSUER + SCOPES)
    good = Client(
        client_id="my-app",
        name="My App",
        redirect_uris=("https://app.example/cb",),
        scopes=("project",),
        secret_sha256="1a" * 32,
    )
    assert client_faults(good, settings) == ()
    bad = Client.model_construct(
        client_id="ü",
        name=" ",
        redirect_uris=("data:x",),
        scopes=("prject",),
        grant_types=("client_credentials",),
    )
    assert client_faults(bad, settings) == (
        "client_id: must be 1 to 255 printable ASCII characters (RFC 6749 appendix A.1)",
        "name: must not be empty",
        "redirect_uris: 'data:x' has the scheme 'data', which is never sent an authorization code",
        (
            "grant_types: must not have client_credentials without secret_sha256"
            " (RFC 6749 section 4.4)"
        ),
        "scopes: 'prject' is not in [scopes]; did you mean 'project'?",
    )


# --- Signing in


def test_a_client_that_asks_for_codes_needs_somebody_who_can_sign_in() -> None:
    assert faults(ISSUER + WEB_CLIENT) == [
        (
            "[sign_in] method: is password, and there are no [[sign_in.users]]"
            " for [[clients]] #1 (my-app)"
        )
    ]
    assert faults(ISSUER + WEB_CLIENT + '[sign_in]\nmethod = "upstream_session"\n') == []


def test_two_users_cannot_share_a_name() -> None:
    assert faults(ISSUER + USER + USER) == [
        "[[sign_in.users]] #2 (demo) name: is that of #1 already"
    ]


@pytest.mark.parametrize("method", ["scrypt", "scrypt:128:1:1", "pbkdf2:sha256:1000"])
def test_a_password_hash_of_werkzeug_is_taken(method: str) -> None:
    assert password_hash_fault(generate_password_hash("demo", method)) is None


@pytest.mark.parametrize(
    "password_hash",
    [
        "",
        "demo",
        "scrypt:…",
        "plain$salt$demo",
        "sha256$salt$" + "0" * 64,
        "scrypt:32768:8$salt$" + "0" * 128,
        "scrypt:32767:8:1$salt$" + "0" * 128,
        "scrypt:64:8:1$salt$" + "0" * 128,
        "scrypt:1048576:1024:1$salt$" + "0" * 128,
        "scrypt:32768:8:1$$" + "0" * 128,
        "scrypt:32768:8:1$salt$" + "0" * 127,
        "scrypt:32768:8:1$salt$" + "0" * 128 + "$",
        "scrypt:32768:8:1$salt$" + "0" * 128 + "\\n",
        "pbkdf2:sha256:0$salt$" + "0" * 64,
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
    ],
)
def test_any_other_password_hash_is_a_fault(password_hash: str) -> None:
    [line] = faults(
        f'{ISSUER}[[sign_in.users]]\nname = "demo"\npassword_hash = "{password_hash}"\n'
    )
    assert line.startswith("[[sign_in.users]] #1 (demo) password_hash: ")
    assert "`gateway hash-password` prints" in line


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("url = 'api/me'", "url: must begin with '/'"),
        ("url = '//evil.example/me'", "url: must begin with one '/', not two"),
        ("url = 'https://evil.example/me'", "url: must begin with '/'"),
        ("url = '/me#x'", "url: must have no query, no fragment"),
        ('url = "/me\\r\\nX: y"', "url: must have no query, no fragment"),
        ("url = '/me?x=y z'", "url: must have a query of characters that a URL has"),
        ("url = '/a/../me'", "url: must have no dot segments"),
        ("login_url = '/login'", "login_url: must have {next} once"),
        ("login_url = '/{next}/{next}'", "login_url: must have {next} once"),
        ("login_url = '/login?{next}&{x}'", "login_url: must have a query of characters"),
        ("login_url = '//evil.example/{next}'", "login_url: must begin with one '/', not two"),
        ("user = ''", "user: must not be empty"),
        ("guest = 'Guest'", "guest: must be an array, not a string"),
    ],
)
def test_the_backends_session_is_asked_for_at_the_backend(keys: str, line: str) -> None:
    [fault] = faults(f"{ISSUER}[sign_in.upstream_session]\n{keys}\n")
    assert fault.startswith(f"[sign_in.upstream_session] {line}")


def test_a_query_may_be_part_of_the_backends_session_url() -> None:
    settings = read(f'{ISSUER}[sign_in.upstream_session]\nurl = "/me?format=json&a=%20"\n')
    assert settings.sign_in.upstream_session.url == "/me?format=json&a=%20"


def test_a_header_that_names_the_user_is_believed_from_trusted_proxies_only() -> None:
    header = '[sign_in.remote_user]\nheader = "X-Remote-User"\n'
    assert faults(ISSUER + header) == [
        (
            "[sign_in.remote_user] header: needs the addresses of who sends it,"
            " in [server] trusted_proxies"
        )
    ]
    assert faults(f'{ISSUER}[server]\ntrusted_proxies = ["10.0.0.1"]\n{header}') == []


# --- Routes


@pytest.mark.parametrize("path", ["/", "/api/**", "/a/*.json", "/files/a b/ü", "/100%", "/app**"])
def test_a_route_is_a_decoded_path_with_stars(path: str) -> None:
    assert read(f'{ISSUER}[[routes]]\npath = "{path}"\n').routes == (Route(path=path),)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "must begin with '/'"),
        ("api/*", "must begin with '/'"),
        ("/a?b=c", "must have no query"),
        ("/a#b", "must have no query and no fragment"),
        ("/a%20b", "must be written decoded"),
        ("/a\\\\b", "must have no backslashes"),
        ("/a\\u0009", "no control characters"),
        ("/a/***", "not more stars"),
        ("/a//b", "must have no empty segments"),
        ("/a/../b", "must have no dot segments"),
        ("/a/..;x/b", "must have no dot segments"),
        ("/a/.", "must have no dot segments"),
    ],
)
def test_a_route_that_could_match_nothing_is_a_fault(path: str, why: str) -> None:
    [line] = faults(f'{ISSUER}[[routes]]\npath = "{path}"\n')
    assert line.startswith("[[routes]] #1 path: ")
    assert why in line


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("methods = []", "methods: must not be empty"),
        ("methods = ['get']", "methods: 'get' must be a method in upper case"),
        ("methods = ['GET ']", "methods: 'GET ' must be a method in upper case"),
        ("methods = ['GET', 'GET']", "methods: 'GET' is there twice"),
        ("scopes = ['prject']", "scopes: 'prject' is not in [scopes]; did you mean 'project'?"),
        (
            "public = true\nscopes = ['project']",
            "public: must not be true beside scopes: whoever needs a scope needs a token",
        ),
    ],
)
def test_a_faulty_key_of_a_route_is_named(keys: str, line: str) -> None:
    written = f'{ISSUER}{SCOPES}[[routes]]\npath = "/a"\n{keys}\n'
    assert faults(written) == [f"[[routes]] #1 (/a) {line}"]


def routes(*methods: str) -> str:
    return ISSUER + "".join(
        f'[[routes]]\npath = "/a"\n{f"methods = {each}" if each else ""}\n' for each in methods
    )


@pytest.mark.parametrize(
    "methods",
    [
        ("", ""),
        ("", "['GET']"),
        ("['GET']", "['GET']"),
        ("['GET', 'PUT']", "['PUT']"),
        ("['GET']", "['HEAD']"),
        ("['GET']", "['PUT']", "['PUT', 'GET']"),
    ],
)
def test_a_route_that_is_never_reached_is_a_fault(methods: tuple[str, ...]) -> None:
    assert faults(routes(*methods)) == [
        (
            f"[[routes]] #{len(methods)} (/a) path:"
            " is not reached: a route above has the same path and methods"
        )
    ]


@pytest.mark.parametrize("methods", [("['GET']", ""), ("['GET']", "['GET', 'PUT']")])
def test_a_route_that_is_reached_by_some_method_is_none(methods: tuple[str, ...]) -> None:
    assert faults(routes(*methods)) == []


def test_a_route_with_faulty_methods_hides_no_other() -> None:
    assert faults(routes("['get']", "['PUT']")) == [
        "[[routes]] #1 (/a) methods: 'get' must be a method in upper case"
    ]
