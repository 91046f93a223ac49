"""What a client says of itself in headers does not reach the backend as the gateway's word."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from tests.support.oauth_client import Browser, Client, authorization, form_of
from tests.support.raw import RawResponse, request
from tests.support.running_gateway import SERVICE_SECRET, RunningGateway

TRUSTED_PROXY = "127.0.0.2"
SESSION = "s" * 43


@pytest.fixture(scope="module")
def token(gateway: RunningGateway) -> str:
    """An access token of the user demo with the scope project."""
    browser = Browser(gateway.url)
    assert browser.sign_in().status_code == 303
    issued: str = Client(gateway.url).redeem(browser.code()).json()["access_token"]
    return issued


@pytest.fixture(scope="module")
def service_token(gateway: RunningGateway) -> str:
    """An access token of a client that acts for itself."""
    issued = Client(gateway.url, "service", SERVICE_SECRET).post(
        "/oauth/token", {"grant_type": "client_credentials", "scope": "project"}
    )
    token: str = issued.json()["access_token"]
    return token


def told(echoed: dict[str, Any], name: str) -> list[str]:
    """Return what the backend was told under a name, in whatever spelling."""
    return [value for key, value in echoed["headers"] if folded(key) == folded(name)]


def folded(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def said(gateway: RunningGateway, target: str, *headers: str, **options: Any) -> dict[str, Any]:
    answer = request(gateway.port, target, *headers, **options)
    assert answer.status == 200, answer
    echoed: dict[str, Any] = answer.json()
    return echoed


def assert_refused(answer: RawResponse, status: int = 401) -> None:
    assert answer.status == status, answer
    assert "target" not in answer.json()


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


FORGED = [
    pytest.param(["X-Forwarded-User: admin"], id="plain"),
    pytest.param(["x-forwarded-user: admin"], id="lower case"),
    pytest.param(["X-FoRwArDeD-uSeR: admin"], id="mixed case"),
    pytest.param(["X_Forwarded_User: admin"], id="underscores"),
    pytest.param(["X-Forwarded_User: admin"], id="one underscore"),
    pytest.param(["x_forwarded-user: admin"], id="other underscore"),
    pytest.param(["X-Forwarded.User: admin"], id="dot"),
    pytest.param(["X.Forwarded.User: admin"], id="dots"),
    pytest.param(["X~Forwarded!User: admin"], id="other characters"),
    pytest.param(["X-Forwarded-User: admin", "X-Forwarded-User: admin"], id="twice"),
    pytest.param(["X-Forwarded-User:", "X-Forwarded-User: admin"], id="empty, then not"),
    pytest.param(["X-Forwarded-User:\tadmin"], id="tab"),
    pytest.param(["X-Forwarded-User: demo", "X_Forwarded_User: admin"], id="two spellings"),
    pytest.param(["Connection: close, X-Forwarded-User", "X-Forwarded-User: admin"], id="named"),
    pytest.param(["X-Forwarded-Client: admin", "X-Forwarded-Scope: admin"], id="client and scope"),
    pytest.param(["X_Forwarded_Scope: admin", "X-Forwarded.Client: admin"], id="the same, odd"),
]


@pytest.mark.parametrize("forged", FORGED)
def test_the_backend_sees_the_real_user_once(
    gateway: RunningGateway, token: str, forged: list[str]
) -> None:
    echoed = said(gateway, "/private", bearer(token), *forged)
    assert told(echoed, "X-Forwarded-User") == ["demo"]
    assert told(echoed, "X-Forwarded-Client") == ["my-app"]
    assert told(echoed, "X-Forwarded-Scope") == ["project"]
    assert echoed.get("remote_user", "demo") == "demo"
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize("forged", FORGED)
def test_a_public_route_without_a_token_has_no_user(
    gateway: RunningGateway, forged: list[str]
) -> None:
    echoed = said(gateway, "/public/x", *forged)
    for name in ("X-Forwarded-User", "X-Forwarded-Client", "X-Forwarded-Scope"):
        assert told(echoed, name) == []
    assert echoed.get("remote_user") is None
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize("forged", FORGED)
def test_a_client_that_acts_for_itself_cannot_name_a_user(
    gateway: RunningGateway, service_token: str, forged: list[str]
) -> None:
    echoed = said(gateway, "/private", bearer(service_token), *forged)
    assert told(echoed, "X-Forwarded-User") == []
    assert told(echoed, "X-Forwarded-Client") == ["service"]
    assert told(echoed, "X-Forwarded-Scope") == ["project"]
    assert echoed.get("remote_user") is None


def test_a_trusted_proxy_cannot_pass_a_user_on_either(gateway: RunningGateway, token: str) -> None:
    """It may let through what a client sent."""
    forged = ("X-Forwarded-User: admin", "X-Forwarded.User: admin", "X-Original-URL: /admin")
    echoed = said(gateway, "/private", bearer(token), *forged, source=TRUSTED_PROXY)
    assert told(echoed, "X-Forwarded-User") == ["demo"]
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize("name", ["Remote-User", "REMOTE_USER", "Auth-Type", "gateway.token"])
def test_no_header_becomes_a_variable_of_wsgi(
    gateway: RunningGateway, name: str, token: str
) -> None:
    public = said(gateway, "/public/x", f"{name}: admin")
    assert (public.get("remote_user"), public.get("token")) == (None, None)
    assert said(gateway, "/private", bearer(token), f"{name}: admin").get("remote_user") in {
        None,
        "demo",
    }


@pytest.mark.parametrize("line", ["X-Forwarded-User : admin", " X-Forwarded-User: admin", ": x"])
def test_a_malformed_header_line_is_a_400(gateway: RunningGateway, token: str, line: str) -> None:
    """RFC 9112 §5.1."""
    assert request(gateway.port, "/private", bearer(token), "X: 1", line).status == 400


@pytest.mark.parametrize(
    "options",
    [
        "close, X-Forwarded-User, X-Forwarded-Client, X-Forwarded-Scope",
        "X-Forwarded-User, close",
        "close, x_forwarded_user",
        "close, Authorization",
        "close, Cookie, Host, Via, Forwarded, X-Forwarded-For",
        "close, Content-Length, Transfer-Encoding",
    ],
)
def test_no_connection_option_removes_what_the_gateway_says(
    gateway: RunningGateway, token: str, options: str
) -> None:
    connection = f"Connection: {options}"
    echoed = said(gateway, "/private", bearer(token), connection, method="POST", body=b"x=1")
    assert told(echoed, "X-Forwarded-User") == ["demo"]
    assert told(echoed, "X-Forwarded-Client") == ["my-app"]
    assert told(echoed, "X-Forwarded-Scope") == ["project"]
    assert told(echoed, "Host") == ["gateway.test"]
    assert echoed["body"] == "x=1"


def test_a_header_that_connection_names_is_not_forwarded(standalone: RunningGateway) -> None:
    """RFC 9110 §7.6.1; a wrapped application is not the other side of a proxy."""
    connection = "Connection: close, X-One, x_two"
    echoed = said(standalone, "/public/x", connection, "X-One: 1", "X-Two: 2", "X-Three: 3")
    assert (told(echoed, "X-One"), told(echoed, "X-Two")) == ([], [])
    assert told(echoed, "X-Three") == ["3"]


ABOUT_ANOTHER_REQUEST = [
    "X-Forwarded-Uri: /public/x",
    "X-Forwarded-Path: /public/x",
    "X-Forwarded-Prefix: /public",
    "X-Forwarded-Method: OPTIONS",
    "X-Original-URI: /public/x",
    "X-Original-URL: /public/x",
    "X-Original-Method: OPTIONS",
    "X-Rewrite-URL: /public/x",
    "X-HTTP-Method-Override: OPTIONS",
    "X-Script-Name: /public",
    "X-Auth-Request-Redirect: /public/x",
    "X_Original_URI: /public/x",
    "x-original.uri: /public/x",
]


@pytest.mark.parametrize("header", ABOUT_ANOTHER_REQUEST)
def test_no_header_makes_a_private_path_public(gateway: RunningGateway, header: str) -> None:
    assert_refused(request(gateway.port, "/private", header))


def test_no_header_of_a_trusted_proxy_does_either(gateway: RunningGateway) -> None:
    """What it says of the original request counts at the verify endpoint alone."""
    assert_refused(request(gateway.port, "/private", *ABOUT_ANOTHER_REQUEST, source=TRUSTED_PROXY))


@pytest.mark.parametrize("header", ABOUT_ANOTHER_REQUEST)
def test_no_header_lowers_what_a_route_needs(
    gateway: RunningGateway, token: str, header: str
) -> None:
    assert_refused(request(gateway.port, "/admin/x", bearer(token), header), 403)


@pytest.mark.parametrize("header", [*ABOUT_ANOTHER_REQUEST[:10], *ABOUT_ANOTHER_REQUEST[11:]])
def test_the_backend_is_not_told_of_another_request_than_was_judged(
    gateway: RunningGateway, header: str
) -> None:
    name = header.partition(":")[0]
    assert told(said(gateway, "/public/y", header), name) == []


VERIFIED = [
    pytest.param(("X-Original-URI: /public/x", "X-Original-Method: GET"), 200, id="public"),
    pytest.param(("X-Original-URI: /private", "X-Original-Method: GET"), 401, id="private"),
    pytest.param(("X-Forwarded-Uri: /private", "X-Forwarded-Method: GET"), 401, id="forwarded"),
    pytest.param(("X-Original-URI: /private?/public/x", "X-Original-Method: GET"), 401, id="query"),
    pytest.param(
        ("X-Original-URI: /public/../admin", "X-Original-Method: GET"), 400, id="dot segments"
    ),
    pytest.param(
        ("X-Original-URI: /public/%2e%2e/admin", "X-Original-Method: GET"), 400, id="escaped"
    ),
    pytest.param(("X-Original-URI: /private#/public/x", "X-Original-Method: GET"), 400, id="hash"),
    pytest.param(
        ("X-Original-URI: /private", "X-Forwarded-Uri: /public/x", "X-Original-Method: GET"),
        403,
        id="contradictory targets",
    ),
    pytest.param(
        ("X-Original-URI: /public/x", "X-Original-Method: GET", "X-Forwarded-Method: POST"),
        403,
        id="contradictory methods",
    ),
    pytest.param(("X-Original-Method: GET",), 403, id="no target"),
    pytest.param(("X-Original-URI: /public/x",), 403, id="no method"),
    pytest.param(
        ("X-Original-URI: http://gateway.test/public/x", "X-Original-Method: GET"),
        (400, 403),
        id="URL",
    ),
]


@pytest.mark.parametrize(("headers", "status"), VERIFIED)
def test_a_trusted_proxy_asks_about_the_original_request(
    gateway: RunningGateway, headers: tuple[str, ...], status: int | tuple[int, ...]
) -> None:
    answer = request(gateway.port, "/oauth/verify", *headers, source=TRUSTED_PROXY)
    assert answer.status in (status if isinstance(status, tuple) else {status})
    assert answer.values("X-Forwarded-User") == []


@pytest.mark.parametrize(("headers", "status"), VERIFIED)
def test_anybody_else_asks_the_verify_endpoint_in_vain(
    gateway: RunningGateway, token: str, headers: tuple[str, ...], status: int
) -> None:
    answer = request(gateway.port, "/oauth/verify", bearer(token), *headers)
    assert answer.status == 403
    assert answer.values("X-Forwarded-User") == []


def test_a_trusted_proxy_is_told_who_asks(gateway: RunningGateway, token: str) -> None:
    original = ("X-Original-URI: /private", "X-Original-Method: GET", "X-Forwarded-User: admin")
    answer = request(gateway.port, "/oauth/verify", bearer(token), *original, source=TRUSTED_PROXY)
    assert answer.status == 200
    assert answer.values("X-Forwarded-User") == ["demo"]


HOSTS = [
    pytest.param(["Host: evil.example"], "127.0.0.1", id="Host"),
    pytest.param(["Host: evil.example:80"], "127.0.0.1", id="port"),
    *(
        pytest.param(
            [
                "Host: gateway.test",
                "X-Forwarded-Host: evil.example",
                "X-Forwarded-Proto: evil",
                "X-Forwarded-Port: 666",
                "X-Forwarded-Prefix: //evil.example",
                "X-Host: evil.example",
                "X-Original-URL: //evil.example/",
                "Forwarded: host=evil.example;proto=evil",
            ],
            source,
            id=f"other headers from {source}",
        )
        for source in ("127.0.0.1", TRUSTED_PROXY)
    ),
]


@pytest.mark.parametrize(("forged", "source"), HOSTS)
def test_a_forged_host_changes_no_address_of_the_gateways(
    gateway: RunningGateway, forged: list[str], source: str
) -> None:
    def get(target: str) -> RawResponse:
        return request(gateway.port, target, *forged, host=None, source=source)

    document = get("/.well-known/oauth-authorization-server").json()
    assert document["issuer"] == gateway.url
    assert all(
        value.startswith(gateway.url + "/")
        for name, value in document.items()
        if name.endswith("_endpoint")
    )
    sign_in = get("/oauth/authorize?client_id=my-app&response_type=code")
    assert sign_in.status == 302
    [location] = sign_in.values("Location")
    assert location.startswith("/oauth/sign-in?next=%2Foauth%2Fauthorize%3F")
    page = get(location)
    assert b'action="/oauth/sign-in"' in page.body
    denied = get("/oauth/authorize?client_id=my-app&response_type=token")
    assert denied.values("Location")[0].startswith("http://localhost:3000/oauth_code?error=")
    assert f"iss={quote(gateway.url, safe='')}" in denied.values("Location")[0]
    challenge = get("/private")
    assert f'realm="{gateway.url}"' in challenge.values("WWW-Authenticate")[0]
    for answer in (sign_in, page, denied, challenge):
        assert "evil" not in str(answer.headers)
        assert b"evil" not in answer.body
        assert not any("domain" in cookie.lower() for cookie in answer.values("Set-Cookie"))


def test_the_log_does_not_take_an_address_from_a_stranger(gateway: RunningGateway) -> None:
    forged = (
        "X-Forwarded-For: 203.0.113.9",
        "Forwarded: for=203.0.113.9",
        "X-Real-IP: 203.0.113.9",
    )
    request(gateway.port, "/log-of-a-stranger", *forged)
    assert logged(gateway, "/log-of-a-stranger")["address"] == "127.0.0.1"


def test_the_log_takes_from_a_trusted_proxy_what_it_wrote_itself(gateway: RunningGateway) -> None:
    """The rightmost address that is not a trusted proxy's; a client wrote those before it."""
    chain = "X-Forwarded-For: 203.0.113.9, 198.51.100.7, 10.1.2.3"
    request(gateway.port, "/log-of-a-proxy", chain, source=TRUSTED_PROXY)
    assert logged(gateway, "/log-of-a-proxy")["address"] == "198.51.100.7"


def test_what_a_client_sends_cannot_forge_a_line_of_the_log(gateway: RunningGateway) -> None:
    request(gateway.port, '/forged%0a{"event":"request"}%E9')
    last = gateway.audit.read_text().splitlines()[-1]
    assert json.loads(last)["event"] == "request"
    assert last.isascii()


def logged(gateway: RunningGateway, path: str) -> dict[str, Any]:
    lines = (json.loads(line) for line in gateway.audit.read_text().splitlines())
    event: dict[str, Any] = next(line for line in lines if line.get("path") == path)
    return event


@pytest.mark.parametrize("target", ["/private", "/public/x"])
def test_the_bearer_token_does_not_reach_the_backend(
    gateway: RunningGateway, token: str, target: str
) -> None:
    echoed = said(
        gateway, target, bearer(token), f"Proxy-Authorization: Bearer {token}", method="POST"
    )
    assert told(echoed, "Authorization") == []
    if gateway.mode == "standalone":
        # RFC 9110 §11.7.2: it is for the next hop, and that is the gateway.
        assert told(echoed, "Proxy-Authorization") == []


COOKIES = [
    pytest.param([f"gateway_session={SESSION}"], [], id="alone"),
    pytest.param([f"a=1; gateway_session={SESSION}; b=2"], ["a=1; b=2"], id="between"),
    pytest.param([f"gateway_session={SESSION};a=1"], ["a=1"], id="no space"),
    pytest.param([f"a=1;  gateway_session = {SESSION}"], ["a=1"], id="spaces"),
    pytest.param([f"a=1;\tgateway_session={SESSION}"], ["a=1"], id="tab"),
    pytest.param([f'a="1; gateway_session={SESSION}; b=2"'], ['a="1; b=2"'], id="quoted"),
    pytest.param([f'"gateway_session"={SESSION}; a=1'], ["a=1"], id="quoted name"),
    pytest.param([f"gateway_session={SESSION}; gateway_session={SESSION}"], [], id="twice"),
    pytest.param(["a=1", f"gateway_session={SESSION}", "b=2"], ["a=1{and}b=2"], id="three lines"),
    pytest.param([f"gateway_session={SESSION}", f"gateway_session={SESSION}"], [], id="two lines"),
    pytest.param(
        [f"caf\xe9=\xc3\xa0; gateway_session={SESSION}"], ["caf\xe9=\xc3\xa0"], id="bytes"
    ),
    pytest.param(["not_gateway_session=1"], ["not_gateway_session=1"], id="another's name"),
    pytest.param(["a=gateway_session"], ["a=gateway_session"], id="a value"),
]


@pytest.mark.parametrize(("cookies", "left"), COOKIES)
def test_the_gateways_cookie_does_not_reach_the_backend_and_others_do(
    gateway: RunningGateway, cookies: list[str], left: list[str]
) -> None:
    echoed = said(gateway, "/public/x", *(f"Cookie: {cookie}" for cookie in cookies))
    # Several lines are one list of cookies; other servers join them as they do any header.
    joined = "; " if gateway.mode == "standalone" else ","
    assert told(echoed, "Cookie") == [value.replace("{and}", joined) for value in left]
    assert SESSION not in json.dumps(echoed)


TOKENLESS = [
    pytest.param("/private?access_token={}", [], id="query"),
    pytest.param("/private?token={}&Authorization=Bearer%20{}", [], id="query, other names"),
    pytest.param("/private", ["Authorization: {}"], id="bare"),
    pytest.param("/private", ["Authorization: Token {}"], id="Token"),
    pytest.param("/private", ["Authorization: Basic {}"], id="Basic"),
    pytest.param("/private", ["Authorization: Bearer{}"], id="no space"),
    pytest.param("/private", ["Authorization: Bearer\t{}"], id="tab"),
    pytest.param("/private", ["Authorization: Bearer,{}"], id="comma"),
    pytest.param("/private", ["Authorization: X Bearer {}"], id="second word"),
    pytest.param("/private", ["Authorization:"], id="empty"),
    pytest.param("/private", ["Proxy-Authorization: Bearer {}"], id="proxy"),
    pytest.param("/private", ["X-Authorization: Bearer {}"], id="X-"),
    pytest.param("/private", ["Authorization.: Bearer {}"], id="odd name"),
    pytest.param("/private", ["Cookie: access_token={}; Authorization=Bearer {}"], id="cookie"),
]


@pytest.mark.parametrize(("target", "headers"), TOKENLESS)
def test_a_token_anywhere_else_counts_as_none(
    gateway: RunningGateway, token: str, target: str, headers: list[str]
) -> None:
    """RFC 6750 §3.1: no error where no credentials were sent as they should be."""
    lines = [header.replace("{}", token) for header in headers]
    answer = request(gateway.port, target.replace("{}", token), *lines)
    assert_refused(answer)
    [challenge] = answer.values("WWW-Authenticate")
    assert challenge.startswith("Bearer realm=")
    assert "error" not in challenge


def test_a_token_in_a_form_counts_as_none(gateway: RunningGateway, token: str) -> None:
    form = requests.post(gateway.url + "/private", {"access_token": token}, timeout=5)
    assert form.status_code == 401
    assert "error" not in form.headers["WWW-Authenticate"]


MALFORMED = [
    pytest.param(["Bearer"], id="nothing"),
    pytest.param(["Bearer  "], id="spaces"),
    pytest.param(["Bearer {} x"], id="trailing word"),
    pytest.param(["Bearer {}, Bearer {}"], id="list"),
    pytest.param(["Bearer {};"], id="semicolon"),
    pytest.param(["Bearer {}:*"], id="colon and star"),
    pytest.param(["Bearer *"], id="star"),
    pytest.param(["Bearer :"], id="colon"),
    pytest.param(['Bearer "{}"'], id="quoted"),
    pytest.param(["Bearer =={}"], id="padding first"),
    pytest.param(["Bearer {}\xe9"], id="not ASCII"),
    pytest.param(["Bearer {}\x00"], id="NUL"),
    pytest.param(["Bearer {}\x7f"], id="DEL"),
    pytest.param(["Bearer {}\r\n x"], id="folded"),
    pytest.param(["Bearer " + "a" * 513], id="too long"),
    pytest.param(["Bearer {}", "Bearer {}"], id="two of the same"),
    pytest.param(["Bearer {}", "Bearer x"], id="good, then bad"),
    pytest.param(["Bearer x", "Bearer {}"], id="bad, then good"),
    pytest.param(["Bearer {}", "Basic eDp5"], id="two schemes"),
]

#: What is no header line never comes to the gateway.
REFUSED_BY_THE_SERVER = (["Bearer {}\x00"], ["Bearer {}\x7f"], ["Bearer {}\r\n x"])


@pytest.mark.parametrize("values", MALFORMED)
def test_a_malformed_bearer_header_is_a_400(
    gateway: RunningGateway, token: str, values: list[str]
) -> None:
    """RFC 6750 §3.1: invalid_request."""
    lines = [f"Authorization: {value.replace('{}', token)}" for value in values]
    answer = request(gateway.port, "/private", *lines)
    assert answer.status == 400
    assert b"target" not in answer.body
    if values in REFUSED_BY_THE_SERVER:
        return
    (challenge,) = answer.values("WWW-Authenticate")
    assert challenge.startswith('Bearer realm="')
    assert 'error="invalid_request"' in challenge
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("megabytes", [1])
def test_a_megabyte_of_token_is_refused(gateway: RunningGateway, megabytes: int) -> None:
    answer = request(gateway.port, "/private", "Authorization: Bearer " + "a" * megabytes * 2**20)
    assert answer.status in {400, 431}


@pytest.mark.parametrize(
    "presented",
    [
        "gateway:access:x",
        "a",
        "a" * 512,
        "gwa_" + "A" * 64,
        "{}=",
        "{}A",
        "GWA{tail}",
        "gwr{tail}",
        "gwc{tail}",
        "../../etc/passwd",
        "-._~+/",
    ],
)
def test_what_is_no_token_of_ours_is_invalid_and_nothing_breaks(
    gateway: RunningGateway, token: str, presented: str
) -> None:
    value = presented.replace("{}", token).replace("{tail}", token[3:])
    answer = request(gateway.port, "/private", f"Authorization: Bearer {value}")
    if ":" in value:
        assert_refused(answer, 400)
        return
    assert_refused(answer)
    assert 'error="invalid_token"' in answer.values("WWW-Authenticate")[0]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer  "])
def test_the_scheme_is_read_without_regard_to_case(
    gateway: RunningGateway, token: str, scheme: str
) -> None:
    """RFC 9110 §11.1."""
    assert told(
        said(gateway, "/private", f"Authorization: {scheme} {token}"), "X-Forwarded-User"
    ) == ["demo"]


def test_a_cookie_that_is_not_utf_8_breaks_nothing(gateway: RunningGateway) -> None:
    for target in ("/oauth/sign-in", "/oauth/applications", "/oauth/sign-out", "/public/x"):
        assert request(gateway.port, target, "Cookie: a=\xe9; \xff=1").status in {200, 302}


def test_a_signed_in_browser_is_not_a_bearer(gateway: RunningGateway) -> None:
    """A session lets its user confirm; it opens no resource, so no foreign page can use it."""
    browser = Browser(gateway.url)
    browser.sign_in()
    assert browser.get("/private").status_code == 401
    page = browser.get("/oauth/authorize", params=authorization(client_id="two-uris"))
    assert form_of(page).fields.get("access_token") is None
    assert urlsplit(page.url).path == "/oauth/authorize"
