"""Whatever the parameters, they are read once and well formed, or refused."""

from __future__ import annotations

import re
from unicodedata import category
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.protocol.errors import OAuthError
from gateway.protocol.parameters import AUTHORIZE
from gateway.protocol.request_rules import FormKind, Submission, validate_submission
from tests.support.oauth_client import Browser
from tests.support.properties import over_http, pure
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway

_NAMES = ["client_id", "redirect_uri", "response_type", "scope", "state", "code", "grant_type"]
_NAMES += ["refresh_token", "token", "code_verifier", "code_challenge", "code_challenge_method"]
_NAMES += ["client_secret", "token_type_hint", "decision", "csrf_token", "next", "username"]
_NAMES += ["password", "resource", "user", "\u0000", "é"]
_VALUES = ["my-app", "confidential", "code", "project", "S256", "authorization_code", "allow", ""]
_VALUES += [
    "refresh_token",
    "client_credentials",
    "http://localhost:3000/oauth_code",
    "|",
    "[",
    "//",
]
_VALUES += ["/oauth/authorize?client_id=my-app&redirect_uri=http://[", "demo", "a" * 5000]

fields = st.lists(
    st.tuples(
        st.sampled_from(_NAMES).map(lambda name: quote(name, safe="").encode()),
        st.one_of(
            st.sampled_from(_VALUES).map(lambda value: quote(value, safe="").encode()),
            st.binary(max_size=12).map(lambda raw: quote_from_bytes(raw, safe="").encode()),
            st.text(max_size=6).map(lambda text: quote(text, safe="").encode()),
            st.binary(max_size=12),
        ),
    ).map(b"=".join),
    max_size=6,
).map(b"&".join)
encoded = st.one_of(fields, st.binary(max_size=60), st.just(b"a=1&" * 100))
# What a server lets through to an application, raw.
in_target = encoded.map(lambda raw: re.sub(rb"[\x00-\x20\x7f-\xff#]", b"%", raw).decode("ascii"))
in_header = st.one_of(
    st.binary(max_size=30).map(
        lambda raw: re.sub(rb"[\x00-\x1f\x7f]", b"?", raw).decode("latin-1")
    ),
    st.sampled_from(
        ["Basic Og==", "Basic =", "Basic gA==", "Bearer", "Basic Y29uZmlkZW50aWFsOiU="]
    ),
)
CONTENT_TYPES = ["application/x-www-form-urlencoded"] * 6
CONTENT_TYPES += [
    "application/x-www-form-urlencoded; charset=utf-16",
    "application/json",
    "",
    "\xe9",
]
ENDPOINTS = ["authorize", "token", "revoke", "introspect", "sign-in", "sign-out", "applications"]
ENDPOINTS += ["verify", "health"]
FRAPPE = "/api/method/frappe.integrations.oauth2.revoke_token"


@pytest.fixture(scope="module")
def session(gateway: RunningGateway) -> str:
    """The cookie of a browser in which demo is signed in."""
    browser = Browser(gateway.url)
    with browser.session:
        assert browser.sign_in().status_code == 303
        return "; ".join(f"{name}={value}" for name, value in browser.session.cookies.items())


@st.composite
def requests_by_hand(draw: st.DrawFn) -> tuple[str, str, bytes, list[str]]:
    """Return a method, a target, a body and headers, the Cookie still to be begun."""
    path = draw(st.sampled_from([*(f"/oauth/{name}" for name in ENDPOINTS), FRAPPE]))
    query, body = draw(in_target), draw(encoded)
    lines = [f"Content-Type: {draw(st.sampled_from(CONTENT_TYPES))}"]
    lines.append(f"Content-Length: {len(body)}")
    if draw(st.booleans()):
        lines.append(f"Authorization: {draw(in_header)}")
    lines.append(f"Cookie: {draw(st.one_of(st.just(''), in_header))}")
    method = draw(st.sampled_from(["GET", "POST", "POST", "HEAD", "PUT", "OPTIONS"]))
    return method, f"{path}?{query}" if query else path, body, lines


@settings(over_http, max_examples=150)
@given(requests_by_hand(), st.booleans())
@example(("GET", "/oauth/sign-in", b"", ["Cookie: a=\xe9"]), False)
def test_no_input_gives_an_error_of_the_server(
    gateway: RunningGateway,
    session: str,
    by_hand: tuple[str, str, bytes, list[str]],
    signed_in: bool,
) -> None:
    method, target, body, headers = by_hand
    *others, cookie = headers
    cookie += f"; {session}" if signed_in else ""
    answer = request(gateway.port, target, *others, cookie, method=method, body=body)
    assert answer.status < 500, answer


@pure
@given(encoded.map(lambda raw: raw.decode("latin-1")))
def test_parameters_are_read_once_and_well_formed_or_refused(raw: str) -> None:
    try:
        parameters = validate_submission(Submission(FormKind.AUTHORIZE, encoded=raw))
    except OAuthError:
        return
    assert parameters.keys() <= AUTHORIZE.keys()
    # A state is any text without control characters.
    others = [value for name, value in parameters.items() if name != "state"]
    assert all(value.isascii() and value.isprintable() for value in others)
    assert not any(category(each) == "Cc" for each in parameters.get("state", ""))
