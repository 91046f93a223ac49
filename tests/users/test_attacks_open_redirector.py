"""Signing in and signing out lead to no other site (RFC 9700 §4.11.2)."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest

from tests.support.oauth_client import Browser, form_of
from tests.support.running_gateway import PASSWORD, RunningGateway
from tests.users.signing_in import APPLICATIONS, ASKED, SIGN_IN, SIGN_OUT

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/%09/evil.example",
    "/\t/evil.example",
    "/%5cevil.example",
    "/\n/evil.example",
    "https:evil.example",
    "https://evil.example",
    "https:/oauth/authorize",
    "HTTPS://evil.example/oauth/authorize?client_id=my-app",
    "//evil.example/oauth/authorize?client_id=my-app",
    "http:oauth/authorize",
    "javascript:alert(1)",
    "data:text/html,x",
    " /oauth/authorize",
    "\x00/oauth/authorize",
    "\ufeff//evil.example",
    "/oauth/authorize@evil.example",
    "/oauth/authorize.evil.example",
    "/oauth/authorize/../../private",
    "/oauth/authorize/..//evil.example",
    "/oauth/./authorize",
    "/oauth//authorize",
    "/oauth/authorize;x",
    "/oauth/authorize%3fx",
    "/oauth/authorize#@evil.example",
    "/oauth/authorize\\@evil.example",
    "/oauth/authorize\r\nSet-Cookie: a=b",
    "/oauth/authorize?x\r\nSet-Cookie: a=b",
    "/oauth/authorize?x\u2028",
    "/oauth/authorize?\xe9",
    "/OAUTH/AUTHORIZE",
    "/private",
    "/oauth/sign-in?next=//evil.example",
    "/oauth/sign-out",
    "/oauth/token",
    "evil.example",
    ".evil.example",
    "@evil.example",
    "?//evil.example",
    "#",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_where_to_go_after_sign_in_cannot_leave_the_gateway(
    gateway: RunningGateway, target: str
) -> None:
    page = Browser(gateway.url).get(f"{SIGN_IN}?{urlencode({'next': target})}")
    assert page.status_code == 200
    assert form_of(page).fields["next"] == APPLICATIONS
    assert form_of(page).action == SIGN_IN
    assert "evil" not in page.text


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https:evil.example"])
def test_a_target_that_is_changed_in_the_form_leads_nowhere_else(
    gateway: RunningGateway, target: str
) -> None:
    browser = Browser(gateway.url)
    fields = form_of(browser.get(SIGN_IN)).fields
    credentials = {"username": "demo", "password": PASSWORD}
    answer = browser.post(SIGN_IN, {**fields, **credentials, "next": target})
    assert (answer.status_code, answer.headers["Location"]) == (303, APPLICATIONS)


def test_a_target_of_two_is_no_target_of_neither_page(gateway: RunningGateway) -> None:
    query = f"next={quote(ASKED, safe='')}&next=//evil.example"
    page = Browser(gateway.url).get(f"{SIGN_IN}?{query}")
    assert "evil" not in page.text


def test_signing_in_leads_back_to_the_request_to_the_letter(gateway: RunningGateway) -> None:
    answer = Browser(gateway.url).sign_in(target=ASKED)
    assert (answer.status_code, answer.headers["Location"]) == (303, ASKED)


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example"])
def test_signing_out_leads_nowhere_else_either(gateway: RunningGateway, target: str) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    page = browser.get(f"{SIGN_OUT}?{urlencode({'next': target})}")
    answer = browser.post(form_of(page).action, form_of(page).fields)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"{SIGN_IN}?next={quote(APPLICATIONS, safe='')}"
