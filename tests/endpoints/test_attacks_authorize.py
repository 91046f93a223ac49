"""The authorization endpoint tells nobody what its client and its user did not agree on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from itertools import count
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import requests

from gateway.config.file import client_faults
from gateway.config.settings import Client as ClientSettings
from gateway.config.settings import Settings
from tests.support.oauth_client import (
    AUTHORIZE,
    FRAPPE,
    REDIRECT_URI,
    Browser,
    Client,
    answer_of,
    form_of,
    headers_of,
    pkce,
)
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway, running_gateway

_FRESH = 40
_CLIENTS = "".join(
    f"""
[[clients]]
client_id = "app-{number}"
name = "App {number}"
redirect_uris = ["https://app-{number}.example/cb"]
scopes = ["project", "profile"]
pkce = "optional"
"""
    for number in range(_FRESH)
)
_HOSTILE_NAME = "<img src=x onerror=alert(1)>\"'&{{1337*1337}}"
_HOSTILE_CLIENT = f"""
[[clients]]
client_id = "<b>\\"bold'"
name = '''{_HOSTILE_NAME}'''
redirect_uris = ["https://hostile.example/cb?x='&y=(1)"]
scopes = ["project"]
pkce = "optional"

[[clients]]
client_id = "local"
name = "Local"
redirect_uris = ["http://localhost:7000/cb"]
scopes = ["project"]
pkce = "optional"
"""


@pytest.fixture(scope="module", params=["wrapped", "standalone"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway of this module's own: what its users confirmed, they confirmed here."""
    folder = tmp_path_factory.mktemp(f"authorize-{request.param}")
    with running_gateway(request.param, folder, extra=_CLIENTS + _HOSTILE_CLIENT) as running:
        yield running


@pytest.fixture(scope="module")
def demo(gateway: RunningGateway) -> Iterator[Browser]:
    """A browser in which demo is signed in."""
    browser = Browser(gateway.url)
    with browser.session:
        assert browser.sign_in().status_code == 303
        yield browser


@pytest.fixture(scope="module")
def nobody(gateway: RunningGateway) -> Iterator[Browser]:
    """A browser in which nobody is signed in."""
    browser = Browser(gateway.url)
    with browser.session:
        yield browser


@pytest.fixture(scope="module")
def zoe(gateway: RunningGateway) -> Iterator[Browser]:
    """A browser in which another user is signed in."""
    browser = Browser(gateway.url)
    with browser.session:
        assert browser.sign_in("zoë").status_code == 303
        yield browser


@pytest.fixture(scope="module")
def _numbers(gateway: RunningGateway) -> Iterator[int]:
    return iter(count())


@pytest.fixture
def asked(_numbers: Iterator[int]) -> dict[str, str]:
    """An authorization request of a client that nobody has confirmed yet."""
    number = next(_numbers)
    assert number < _FRESH, "define more clients"
    return {
        "client_id": f"app-{number}",
        "redirect_uri": f"https://app-{number}.example/cb",
        "response_type": "code",
        "scope": "project",
        "state": "s",
    }


APP = {
    "client_id": "two-uris",
    "redirect_uri": "https://two.example/cb?kept=yes",
    "response_type": "code",
    "scope": "project",
    "state": "s",
}


def assert_page(answer: requests.Response, status: int = 400) -> None:
    """Assert that the fault is shown to the user, and that nobody is redirected."""
    assert answer.status_code == status
    assert "Location" not in answer.headers
    assert answer.headers["Content-Type"].startswith("text/html")


def error_of(answer: requests.Response) -> str:
    """Return the error that the client is told, with nothing it was not promised."""
    parameters = answer_of(answer)
    assert "code" not in parameters
    return parameters["error"]


# --- Where the answer goes


@pytest.mark.parametrize(
    "query",
    [
        "client_id=unknown&response_type=code&redirect_uri=https://two.example/cb?kept=yes",
        "client_id=unknown&response_type=code",
        "response_type=code&redirect_uri=https://two.example/cb?kept=yes",
        "client_id=&response_type=code",
        "client_id=two-uris&response_type=code",
        "client_id=two-uris&response_type=code&redirect_uri=",
        "client_id=two-uris&client_id=two-uris&response_type=code&redirect_uri=com.example.two:/cb",
        "client_id=two-uris&client_id=my-app&response_type=code",
        "client_id=my-app&client_id=&response_type=code",
        "client_id=my-app%00&response_type=code",
        "client_id=%20my-app&response_type=code",
        "client_id=My-App&response_type=code",
        "client_id=my-app%C3%A9&response_type=code",
        "client_id=my-app%FF&response_type=code",
        "client_id=service&response_type=code",
        f"client_id=my-app&redirect_uri={REDIRECT_URI}&redirect_uri=https://evil.example/",
        f"client_id=my-app&redirect_uri=https://evil.example/&redirect_uri={REDIRECT_URI}",
        "client_id=my-app&redirect_uri=https://evil.example/&error=access_denied",
        "",
        "&".join(f"a{number}=1" for number in range(100)),
    ],
)
def test_without_a_known_client_and_its_redirect_uri_nobody_is_redirected(
    demo: Browser, nobody: Browser, query: str
) -> None:
    """RFC 6749 §3.1.2.4 and §4.1.2.1: signed in or not."""
    assert_page(demo.get(f"{AUTHORIZE}?{query}"))
    assert_page(nobody.get(f"{AUTHORIZE}?{query}"))


def test_the_only_redirect_uri_is_the_default(demo: Browser) -> None:
    """RFC 6749 §3.1.2.3."""
    denied = demo.get(f"{AUTHORIZE}?client_id=my-app&response_type=token")
    assert denied.headers["Location"].startswith("http://localhost:3000/oauth_code?error=")


NOT_REGISTERED = [
    "https://app.example/cb/",
    "https://app.example/CB",
    "https://app.example/c%62",
    "https://app.example/cb?",
    "https://app.example/cb?x=1",
    "https://app.example/cb#",
    "https://app.example/cb#x",
    "https://app.example/cb%00",
    "https://app.example/cb%0d%0aX: y",
    "https://app.example/cb\r\nX: y",
    "https://app.example/cb\t",
    "https://app.example/cb ",
    " https://app.example/cb",
    "\x00https://app.example/cb",
    "https://app.example/cb;x",
    "https://app.example//cb",
    "https://app.example/./cb",
    "https://app.example/x/../cb",
    "https://app.example/cb/../cb",
    "https://app.example/cb/..%2f..",
    "https://app.example\\cb",
    "https://app.example/cb\\",
    "https://app.example:443/cb",
    "https://app.example:/cb",
    "https://app.example./cb",
    "https://APP.example/cb",
    "HTTPS://app.example/cb",
    "http://app.example/cb",
    "https:/app.example/cb",
    "https:app.example/cb",
    "https:///app.example/cb",
    "//app.example/cb",
    "/cb",
    "app.example/cb",
    "https://user@app.example/cb",
    "https://user:password@app.example/cb",
    "https://app.example@evil.example/cb",
    "https://app.example%40evil.example/cb",
    "https://app.example:x@evil.example/cb",
    "https://app.example.evil.example/cb",
    "https://app.example%2eevil.example/cb",
    "https://app.example%00.evil.example/cb",
    "https://app.example\\@evil.example/cb",
    "https://evil.example/https://app.example/cb",
    "https://evil.example/cb?https://app.example/cb",
    "https://evil.example#https://app.example/cb",
    "https://sub.app.example/cb",
    "https://app.examplé/cb",
    "https://\uff41pp.example/cb",
    "https://app.example/cb https://evil.example/",
    "https://app.example/cb,https://evil.example/",
    "https://app.example/" + "c" * 2100,
    "javascript:alert(1)//https://app.example/cb",
    "JavaScript:alert(1)",
    " javascript:alert(1)",
    "\tjavascript:alert(1)",
    "java\nscript:alert(1)",
    "\x01javascript:alert(1)",
    "\ufeffjavascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "DATA:text/html;base64,PHNjcmlwdD4=",
    "file:///etc/passwd",
    "vbscript:x",
    "view-source:https://app.example/cb",
    "blob:https://app.example/cb",
    "about:blank",
    "intent://x#Intent;scheme=https;end",
    "urn:ietf:wg:oauth:2.0:oob",
    "*",
    "null",
]


@pytest.mark.parametrize("uri", NOT_REGISTERED)
def test_a_redirect_uri_is_compared_character_for_character(demo: Browser, uri: str) -> None:
    """RFC 9700 §2.1; what is not registered stands on the page at most as text."""
    answer = demo.authorize(client_id="pkce-app", response_type="code", redirect_uri=uri, state="s")
    assert_page(answer)
    assert "javascript:" not in str(answer.headers)
    assert "<script" not in answer.text


@pytest.mark.parametrize("uri", [*NOT_REGISTERED[:5], "https://evil.example/", "javascript:x"])
def test_a_posted_redirect_uri_is_compared_no_less(demo: Browser, uri: str) -> None:
    fields = {"client_id": "pkce-app", "response_type": "code", "redirect_uri": uri}
    assert_page(demo.post(AUTHORIZE, {**fields, "decision": "deny"}))


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/cb",
        "http://127.0.0.1:80/cb",
        "http://127.0.0.1:1/cb",
        "http://127.0.0.1:51004/cb",
        "http://127.0.0.1:65535/cb",
        "http://[::1]/cb",
        "http://[::1]:51004/cb",
    ],
)
def test_a_loopback_redirect_may_have_any_port(demo: Browser, uri: str) -> None:
    """RFC 8252 §7.3."""
    page = demo.authorize(
        client_id="native", response_type="code", redirect_uri=uri, scope="project"
    )
    assert page.status_code == 200
    assert demo.decide(page, "deny").headers["Location"].startswith(f"{uri}?error=access_denied")


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1/cb/",
        "http://127.0.0.1/other",
        "http://127.0.0.1:51004/other",
        "http://127.0.0.1:51004/cb?x=1",
        "http://127.0.0.1:51004/cb?",
        "http://127.0.0.1:51004/cb#x",
        "http://127.0.0.1:51004/x/../cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:000001/cb",
        "http://127.0.0.1:-1/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:80:90/cb",
        "http://127.0.0.1:8\u0660/cb",
        "http://127.0.0.1:80@evil.example/cb",
        "http://127.0.0.1@evil.example/cb",
        "http://evil@127.0.0.1/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1.evil.example:80/cb",
        "http://127.0.0.1\\.evil.example/cb",
        "http://127.0.0.2/cb",
        "http://127.1/cb",
        "http://0x7f.0.0.1/cb",
        "http://2130706433/cb",
        "http://0.0.0.0/cb",
        "http://localhost/cb",
        "http://localhost:51004/cb",
        "http://localhost@evil.example/cb",
        "http://[::1]:80@evil.example/cb",
        "http://[::1].evil.example/cb",
        "http://[0:0:0:0:0:0:0:1]/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "https://127.0.0.1/cb",
        "https://127.0.0.1:51004/cb",
        "HTTP://127.0.0.1/cb",
    ],
)
def test_a_loopback_redirect_differs_in_nothing_but_its_port(demo: Browser, uri: str) -> None:
    assert_page(demo.authorize(client_id="native", response_type="code", redirect_uri=uri))


@pytest.mark.parametrize(
    "uri",
    [
        "http://localhost/cb",
        "http://localhost:7001/cb",
        "http://localhost:7000@evil.example/cb",
        "http://localhost:70000/cb",
        "http://localhost.evil.example:7000/cb",
        "http://localhost.:7000/cb",
        "http://127.0.0.1:7000/cb",
    ],
)
def test_the_name_localhost_is_registered_with_its_port(demo: Browser, uri: str) -> None:
    """RFC 8252 §8.3: the name is no address, so nothing of it may differ."""
    assert_page(demo.authorize(client_id="local", response_type="code", redirect_uri=uri))


@pytest.mark.parametrize(
    "uri",
    [
        *(uri for uri in NOT_REGISTERED if not uri.startswith("https://") and "urn:" not in uri),
        "https://app.example/cb#x",
        "https://app.example/x/../cb",
        "https://app.example/x/%2e%2e/cb",
        "https://user@app.example/cb",
        "https://app.example\\@evil.example/cb",
        "https://app.example/cb\x7f",
        "https://app.exa%6dple/cb",
        "https://app.example:/cb",
        "https://app.example:0000443/cb",
        "https://app!.example/cb",
        "https://[::1]evil.example/cb",
        "https://[::1%25eth0]/cb",
        "https://app..example/cb",
        "http://app.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.1/cb",
        "ws://app.example/cb",
        "",
        ":",
        "myapp:",
        "myapp://",
    ],
)
def test_what_no_answer_may_be_sent_to_cannot_be_registered(uri: str) -> None:
    settings = Settings(
        issuer="https://gateway.test", secret_keys=(b"k" * 32,), scopes={"project": "Words"}
    )
    client = ClientSettings.model_construct(
        client_id="app", name="App", redirect_uris=(uri,), scopes=("project",)
    )
    [fault] = client_faults(client, settings)
    assert "redirect_uris" in fault


# --- What the client is told


def test_an_error_names_its_issuer_keeps_the_state_and_the_uris_own_query(
    gateway: RunningGateway, demo: Browser
) -> None:
    """RFC 6749 §4.1.2.1, RFC 9207 §2."""
    refused = demo.authorize(**{**APP, "scope": "admin", "state": "a b&c=d#e%f?/\"'<>;+"})
    assert refused.status_code == 302
    location = urlsplit(refused.headers["Location"])
    assert refused.headers["Location"].startswith("https://two.example/cb?kept=yes&error=")
    parameters = dict(parse_qsl(location.query))
    assert parameters.pop("error_description")
    assert parameters == {
        "kept": "yes",
        "error": "invalid_scope",
        "state": "a b&c=d#e%f?/\"'<>;+",
        "iss": gateway.url,
    }
    assert location.fragment == ""


def test_an_answer_to_a_native_application_keeps_to_its_scheme(demo: Browser) -> None:
    refused = demo.authorize(**{**APP, "redirect_uri": "com.example.two:/cb", "scope": "admin"})
    assert refused.headers["Location"].startswith("com.example.two:/cb?error=invalid_scope&")


BAD_STATES = ["\x00", "a\r\nSet-Cookie: a=b", "\x7f", "é"]


@pytest.mark.parametrize("state", BAD_STATES)
def test_a_state_that_is_none_is_refused_and_not_sent_back(demo: Browser, state: str) -> None:
    """RFC 6749 appendix A.5."""
    refused = demo.authorize(**{**APP, "state": state})
    assert error_of(refused) == "invalid_request"
    assert "state" not in answer_of(refused)
    assert "Set-Cookie" not in refused.headers


_S256 = "response_type=code&code_challenge={c}&code_challenge_method=S256"
FAULTS = [
    ("response_type=token", "unsupported_response_type"),
    ("response_type=id_token", "unsupported_response_type"),
    ("response_type=xcode", "unsupported_response_type"),
    ("response_type=codex", "unsupported_response_type"),
    ("response_type=code+token", "unsupported_response_type"),
    ("response_type=token+code", "unsupported_response_type"),
    ("response_type=code+code", "unsupported_response_type"),
    ("response_type=CODE", "unsupported_response_type"),
    ("response_type=none", "unsupported_response_type"),
    ("response_type=+code", "invalid_request"),
    ("response_type=code%00", "invalid_request"),
    ("response_type=code%7C", "invalid_request"),
    ("response_type=", "invalid_request"),
    ("", "invalid_request"),
    ("response_type=code&response_type=code", "invalid_request"),
    ("response_type=code&response_type=token", "invalid_request"),
    ("response_type=code&response_type=", "invalid_request"),
    ("response_type=code&state=a&state=a", "invalid_request"),
    ("response_type=code&state=a&state=", "invalid_request"),
    ("response_type=code&scope=project&scope=project", "invalid_request"),
    ("response_type=code&scope=project&scope=", "invalid_request"),
    ("response_type=code&scope=admin", "invalid_scope"),
    ("response_type=code&scope=project+admin", "invalid_scope"),
    ("response_type=code&scope=unknown", "invalid_scope"),
    ("response_type=code&scope=PROJECT", "invalid_scope"),
    ("response_type=code&scope=*", "invalid_scope"),
    ("response_type=code&scope=+", "invalid_scope"),
    ("response_type=code&scope=project%00", "invalid_scope"),
    ("response_type=code&scope=project%0Aadmin", "invalid_scope"),
    ("response_type=code&scope=%22project%22", "invalid_scope"),
    ("response_type=code&scope=proj%C3%A9ct", "invalid_scope"),
    ("response_type=code&code_challenge={c}&code_challenge={c}", "invalid_request"),
    ("response_type=code&code_challenge={c}&code_challenge=", "invalid_request"),
    ("response_type=code&code_challenge=", "invalid_request"),
    ("response_type=code&code_challenge=&code_challenge_method=S256", "invalid_request"),
    ("response_type=code&code_challenge_method=S256", "invalid_request"),
    ("response_type=code&code_challenge_method=plain", "invalid_request"),
    ("response_type=code&code_challenge={c}", "invalid_request"),
    ("response_type=code&code_challenge={c}&code_challenge_method=", "invalid_request"),
    ("response_type=code&code_challenge={c}&code_challenge_method=plain", "invalid_request"),
    ("response_type=code&code_challenge={c}&code_challenge_method=s256", "invalid_request"),
    ("response_type=code&code_challenge={c}&code_challenge_method=S512", "invalid_request"),
    ("response_type=code&code_challenge={c}&code_challenge_method=S256%00", "invalid_request"),
    ("response_type=code&code_challenge={c}x&code_challenge_method=S256", "invalid_request"),
    ("response_type=code&code_challenge=x&code_challenge_method=S256", "invalid_request"),
    (f"{_S256}&code_challenge_method=S256", "invalid_request"),
    (f"{_S256}&code_challenge_method=plain", "invalid_request"),
]


@pytest.mark.parametrize(("query", "error"), FAULTS)
def test_a_fault_is_told_to_the_client_at_its_redirect_uri(
    demo: Browser, nobody: Browser, query: str, error: str
) -> None:
    """RFC 6749 §3.1, §3.1.1, §4.1.2.1; RFC 7636 §4.4.1. With nobody signed in too."""
    challenge = pkce()[1]["code_challenge"]
    state = "" if "state=" in query else "&state=a+b%26%3D%25"
    target = f"{AUTHORIZE}?client_id=my-app&{query.replace('{c}', challenge)}{state}"
    for browser in (demo, nobody):
        told = browser.get(target)
        assert error_of(told) == error
        assert told.headers["Location"].startswith(f"{REDIRECT_URI}?error=")
        # One state is sent back as it was, and of two neither (RFC 6749 §4.1.2.1, RFC 9207 §2).
        assert answer_of(told).get("state") == ("a b&=%" if state else None)
        assert answer_of(told)["iss"] == browser.gateway


def test_a_request_that_is_not_utf_8_is_a_page(demo: Browser) -> None:
    assert_page(demo.get(f"{AUTHORIZE}?client_id=my-app&response_type=code&state=%FF"))


@pytest.mark.parametrize("scope", ["", "&scope="])
def test_without_a_scope_the_clients_own_are_asked_for(demo: Browser, scope: str) -> None:
    """RFC 6749 §3.1 (empty is omitted) and §3.3; and the page says so."""
    page = demo.get(f"{AUTHORIZE}?client_id=my-app&response_type=code{scope}")
    assert page.status_code == 200
    assert "See and change your projects" in page.text
    assert "See your name and address" in page.text


def test_parameters_that_nobody_knows_are_ignored(
    demo: Browser, gateway: RunningGateway, asked: dict[str, str]
) -> None:
    """RFC 6749 §3.1; none of them becomes an answer, a user or a mode."""
    page = demo.authorize(
        **asked,
        user="admin",
        decision="allow",
        csrf_token="x",
        prompt="none",
        response_mode="fragment",
        request="x",
        request_uri="https://evil.example/",
        skip_consent="true",
    )
    assert page.status_code == 200
    fields = form_of(page).fields
    assert fields.keys() == {*asked, "csrf_token"}
    allowed = demo.decide(page)
    assert urlsplit(allowed.headers["Location"]).fragment == ""
    token = Client(gateway.url, asked["client_id"], redirect_uri=asked["redirect_uri"])
    issued = token.redeem(answer_of(allowed)["code"]).json()
    echoed = token.get("/private", issued["access_token"]).json()
    assert headers_of(echoed, "X-Forwarded-User") == ["demo"]


@pytest.mark.parametrize(
    "resources",
    [
        "resource=https%3A%2F%2Fone.example&resource=https%3A%2F%2Ftwo.example",
        "resource=https%3A%2F%2Fone.example&resource=https%3A%2F%2Fone.example",
        "resource=&resource=https%3A%2F%2Fone.example",
    ],
    ids=["two", "the same twice", "an empty one"],
)
@pytest.mark.parametrize("path", [AUTHORIZE, FRAPPE + "authorize"], ids=["standard", "frappe"])
def test_two_resources_are_no_error(
    demo: Browser, nobody: Browser, asked: dict[str, str], path: str, resources: str
) -> None:
    """RFC 8707 §2; neither in the request nor in the confirmation, and with nobody signed in."""
    target = f"{path}?{resources}&{urlencode(asked)}"
    sign_in = nobody.get(target)
    assert sign_in.status_code == 302
    assert sign_in.headers["Location"].startswith("/oauth/sign-in?next=")

    page = demo.get(target)
    assert page.status_code == 200
    form = form_of(page)
    assert form.fields.keys() == {*asked, "csrf_token"}
    confirmed = demo.session.post(
        demo.gateway + form.action,
        f"{urlencode(form.fields)}&{resources}&decision=allow",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        allow_redirects=False,
    )
    for redirect in (confirmed, demo.get(target)):
        assert redirect.headers["Location"].startswith(asked["redirect_uri"])
        assert answer_of(redirect).keys() == {"code", "state", "iss"}


@pytest.mark.parametrize(
    "challenge",
    [
        {},
        {"code_challenge": ""},
        {"code_challenge": "x" * 43},
        {"code_challenge": "x" * 43, "code_challenge_method": "plain"},
    ],
    ids=["none", "empty", "method omitted", "plain"],
)
def test_a_public_client_brings_an_s256_challenge(demo: Browser, challenge: dict[str, str]) -> None:
    """RFC 9700 §2.1.1, RFC 7636 §4.3."""
    refused = demo.authorize(client_id="pkce-app", response_type="code", state="s", **challenge)
    assert error_of(refused) == "invalid_request"
    assert answer_of(refused)["state"] == "s"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "post"])
def test_other_methods_are_not_taken_for_an_answer(
    demo: Browser, asked: dict[str, str], method: str
) -> None:
    answer = demo.session.request(
        method, f"{demo.gateway}{AUTHORIZE}?{urlencode(asked)}", allow_redirects=False
    )
    assert answer.status_code in {400, 405}
    assert "Location" not in answer.headers


# --- What the user confirms


def test_a_forged_or_missing_proof_answers_for_nobody(
    demo: Browser, zoe: Browser, asked: dict[str, str]
) -> None:
    page = demo.authorize(**asked)
    fields = {**form_of(page).fields, "decision": "allow"}
    proof = fields.pop("csrf_token")
    foreign = form_of(zoe.authorize(**asked)).fields["csrf_token"]
    for forged in (None, "", "x", "A" * 43, foreign, proof[:-1], f"{proof}A", proof.swapcase()):
        answer = demo.post(AUTHORIZE, fields | ({} if forged is None else {"csrf_token": forged}))
        assert answer.status_code in {400, 403}
        assert "Location" not in answer.headers
    # A first good answer shows that nothing but the proof was missing.
    assert "code" in answer_of(demo.post(AUTHORIZE, {**fields, "csrf_token": proof}))


@pytest.mark.parametrize(
    "changed",
    [
        {"scope": "project profile"},
        {"scope": ""},
        {"state": "other"},
        {"state": ""},
        {"code_challenge": "x" * 43, "code_challenge_method": "S256"},
        {"redirect_uri": ""},
    ],
    ids=["wider scope", "default scope", "state", "no state", "challenge", "no redirect_uri"],
)
def test_a_confirmation_is_for_the_parameters_that_were_shown(
    demo: Browser, asked: dict[str, str], changed: dict[str, str]
) -> None:
    fields = form_of(demo.authorize(**asked)).fields
    answer = demo.post(AUTHORIZE, {**fields, **changed, "decision": "allow"})
    assert_page(answer, 403)


def test_a_confirmation_for_one_client_says_nothing_of_another(
    demo: Browser, asked: dict[str, str]
) -> None:
    fields = form_of(demo.authorize(**asked)).fields
    other = {"client_id": "two-uris", "redirect_uri": "com.example.two:/cb"}
    assert_page(demo.post(AUTHORIZE, {**fields, **other, "decision": "allow"}), 403)
    demo.post(AUTHORIZE, {**fields, "decision": "allow"})
    assert "code" in answer_of(demo.authorize(**asked))
    assert demo.authorize(**{**APP, **other}).status_code == 200


def test_a_remembered_confirmation_is_for_its_scopes_and_its_user(
    demo: Browser, zoe: Browser, asked: dict[str, str]
) -> None:
    demo.decide(demo.authorize(**asked))
    assert "code" in answer_of(demo.authorize(**asked))
    assert demo.authorize(**{**asked, "scope": "project profile"}).status_code == 200
    assert demo.authorize(**{**asked, "scope": "profile"}).status_code == 200
    assert zoe.authorize(**asked).status_code == 200


def test_denying_is_not_remembered_as_a_confirmation(demo: Browser, asked: dict[str, str]) -> None:
    assert error_of(demo.decide(demo.authorize(**asked), "deny")) == "access_denied"
    assert demo.authorize(**asked).status_code == 200


def test_two_pages_at_once_both_work(demo: Browser, asked: dict[str, str]) -> None:
    first = demo.authorize(**asked)
    second = demo.authorize(**asked)
    third = demo.authorize(**{**asked, "state": "other"})
    assert answer_of(demo.decide(first))["state"] == "s"
    assert answer_of(demo.decide(second))["state"] == "s"
    assert answer_of(demo.decide(third))["state"] == "other"


def test_a_page_shown_in_one_browser_does_not_answer_for_another(
    gateway: RunningGateway, demo: Browser, asked: dict[str, str]
) -> None:
    """The same user in both: the proof is the browser's, not the user's."""
    other = Browser(gateway.url)
    other.sign_in()
    fields = {**form_of(demo.authorize(**asked)).fields, "decision": "allow"}
    assert_page(other.post(AUTHORIZE, fields), 403)


def test_a_page_shown_before_the_user_changed_does_not_answer_for_the_next_one(
    gateway: RunningGateway, asked: dict[str, str]
) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    fields = {**form_of(browser.authorize(**asked)).fields, "decision": "allow"}
    browser.sign_in("zoë")
    assert_page(browser.post(AUTHORIZE, fields), 403)


def test_an_answer_of_nobody_leads_to_the_sign_in_and_not_to_the_client(
    gateway: RunningGateway, demo: Browser, asked: dict[str, str]
) -> None:
    """A foreign page's form comes without the cookie, since that is SameSite=Lax."""
    fields = {**form_of(demo.authorize(**asked)).fields, "decision": "allow"}
    answer = Browser(gateway.url).post(AUTHORIZE, fields)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/oauth/sign-in?next=")
    assert "decision" not in unescape(answer.headers["Location"])


@pytest.mark.parametrize(
    "decision", [None, "", "yes", "Allow", "allow ", "deny&decision=allow", "allow&decision=deny"]
)
def test_only_one_plain_allow_allows(
    demo: Browser, asked: dict[str, str], decision: str | None
) -> None:
    body = urlencode(form_of(demo.authorize(**asked)).fields)
    answer = demo.session.post(
        demo.gateway + AUTHORIZE,
        body if decision is None else f"{body}&decision={decision}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        allow_redirects=False,
    )
    assert_page(answer)


def test_a_confirmation_in_the_query_confirms_nothing(demo: Browser, asked: dict[str, str]) -> None:
    fields = {**form_of(demo.authorize(**asked)).fields, "decision": "allow"}
    assert demo.get(f"{AUTHORIZE}?{urlencode(fields)}").status_code == 200
    assert_page(demo.post(f"{AUTHORIZE}?{urlencode(fields)}", {}))


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json", "multipart/form-data; boundary=x", ""]
)
def test_a_form_that_another_site_could_send_without_asking_is_none(
    demo: Browser, asked: dict[str, str], content_type: str
) -> None:
    body = urlencode({**form_of(demo.authorize(**asked)).fields, "decision": "allow"})
    answer = demo.session.post(
        demo.gateway + AUTHORIZE,
        body.encode(),
        headers={"Content-Type": content_type},
        allow_redirects=False,
    )
    assert_page(answer)


def test_a_proof_is_for_its_form(demo: Browser, asked: dict[str, str]) -> None:
    """That of the page for signing out allows no application."""
    fields = form_of(demo.authorize(**asked)).fields
    sign_out = form_of(demo.get("/oauth/sign-out")).fields["csrf_token"]
    applications = demo.get("/oauth/applications").text
    assert_page(demo.post(AUTHORIZE, {**fields, "csrf_token": sign_out, "decision": "allow"}), 403)
    assert sign_out not in applications


# --- What a page shows


PAGES = [
    "/oauth/sign-in",
    "/oauth/sign-in?next=/oauth/authorize%3Fclient_id%3Dmy-app%26response_type%3Dcode",
    f"{AUTHORIZE}?client_id=unknown",
    f"{AUTHORIZE}?{urlencode(APP)}",
    f"{FRAPPE}authorize?{urlencode(APP)}",
    "/oauth/sign-out",
    "/oauth/applications",
]


@pytest.mark.parametrize("target", PAGES)
def test_a_page_is_not_framed_kept_or_told_of_and_loads_nothing(demo: Browser, target: str) -> None:
    page = demo.get(target)
    assert page.status_code in {200, 400}
    policy = {
        words[0]: words[1:]
        for words in (
            part.split() for part in page.headers["Content-Security-Policy"].split(";") if part
        )
    }
    assert policy["frame-ancestors"] == ["'none'"]
    assert policy["default-src"] == ["'none'"]
    assert policy["base-uri"] == ["'none'"]
    assert "script-src" not in policy
    assert policy.get("form-action", ["'self'"]) == ["'self'"]
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<script|\son\w+=|src=|<link|<iframe|url\(|@import", page.text)
    assert not re.search(r"(href|action)=.(?!/oauth/|/api/method/)", page.text)


def test_names_and_parameters_of_strangers_are_shown_as_text(demo: Browser) -> None:
    state = "\"><script>alert(1)</script>'&lt;{{1337*1337}}"
    page = demo.authorize(client_id="<b>\"bold'", response_type="code", state=state)
    assert page.status_code == 200
    for raw in ("<img", "<b>", "<script", "onerror=alert(1)>", "1787569"):
        assert raw not in page.text.replace(page.text[: page.text.index("</style>")], "")
    assert _HOSTILE_NAME in unescape(page.text)
    assert form_of(page).fields["state"] == state
    assert answer_of(demo.decide(page, "deny"))["state"] == state


def test_a_hostile_name_on_the_sign_in_page_is_text(gateway: RunningGateway) -> None:
    query = urlencode({"client_id": "<b>\"bold'", "response_type": "code", "state": "'><script>"})
    page = Browser(gateway.url).get(f"/oauth/sign-in?{urlencode({'next': f'{AUTHORIZE}?{query}'})}")
    body = page.text[page.text.index("</style>") :]
    assert "<img" not in body
    assert "<script" not in body
    assert form_of(page).fields["next"] == f"{AUTHORIZE}?{query}"


@pytest.mark.parametrize("target", [f"{AUTHORIZE}?{{}}", "/oauth/sign-in?next={}", "/{}"])
def test_markup_in_an_address_is_never_markup_in_the_answer(demo: Browser, target: str) -> None:
    answer = demo.get(target.replace("{}", quote("<script>alert('\"1')</script>", safe="")))
    assert "<script" not in answer.text


def test_every_redirect_keeps_its_address_to_itself(
    gateway: RunningGateway, demo: Browser, asked: dict[str, str]
) -> None:
    """RFC 9700 §4.2.4: the code is in no Referer, and RFC 6749 §5.1's rule holds for it too."""
    for redirect in (
        demo.decide(demo.authorize(**asked)),
        demo.authorize(**asked),
        demo.authorize(**{**asked, "response_type": "token"}),
        Browser(gateway.url).authorize(**asked),
    ):
        assert redirect.headers["Referrer-Policy"] == "no-referrer"
        assert redirect.headers["Cache-Control"] == "no-store"
        assert redirect.content == b""


def test_no_page_of_another_origin_may_read_the_authorization_endpoint(demo: Browser) -> None:
    answer = demo.get(f"{AUTHORIZE}?{urlencode(APP)}", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_head_shows_no_more_than_get(gateway: RunningGateway, demo: Browser) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in demo.session.cookies.items())
    target = f"{AUTHORIZE}?{urlencode(APP)}"
    answer = request(gateway.port, target, f"Cookie: {cookie}", method="HEAD")
    assert (answer.status, answer.body, answer.values("Location")) == (200, b"", [])
