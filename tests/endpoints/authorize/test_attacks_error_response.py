"""A refused authorization request is answered at the client's redirect URI (RFC 6749 §4.1.2.1)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.endpoints.authorize.authorization import APP, assert_page, error_of
from tests.support.oauth_client import AUTHORIZE, REDIRECT_URI, Browser, answer_of, pkce
from tests.support.running_gateway import RunningGateway


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


BAD_STATES = ["\x00", "a\r\nSet-Cookie: a=b", "\x7f", "\u0085", "a\u2028b"]


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
    """RFC 6749 §3.1, §3.1.1, §4.1.2.1; RFC 7636 §4.4.1. Where nobody is signed in, not yet.

    RFC 9700 §4.11.2: a link with a fault would lead a stranger on to the client at once.
    """
    challenge = pkce()[1]["code_challenge"]
    state = "" if "state=" in query else "&state=a+b%26%3D%25"
    target = f"{AUTHORIZE}?client_id=my-app&{query.replace('{c}', challenge)}{state}"
    to_sign_in = nobody.get(target).headers["Location"]
    assert to_sign_in.startswith("/oauth/sign-in?next=")
    told = demo.get(target)
    assert error_of(told) == error
    assert told.headers["Location"].startswith(f"{REDIRECT_URI}?error=")
    # One state is sent back as it was, and of two neither (RFC 6749 §4.1.2.1, RFC 9207 §2).
    assert answer_of(told).get("state") == ("a b&=%" if state else None)
    assert answer_of(told)["iss"] == demo.gateway


def test_a_request_that_is_not_utf_8_is_a_page(demo: Browser) -> None:
    assert_page(demo.get(f"{AUTHORIZE}?client_id=my-app&response_type=code&state=%FF"))


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
