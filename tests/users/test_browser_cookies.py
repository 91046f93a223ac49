"""A browser's two cookies: forms in several tabs, foreign pages, and a backend of the same host."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.support.oauth_client import Browser, answer_of, authorization, form_of
from tests.support.running_gateway import PASSWORD, RunningGateway, running_gateway
from tests.users.signing_in import APPLICATIONS, SIGN_IN, SIGN_OUT, is_signed_in

CREDENTIALS = {"username": "demo", "password": PASSWORD}


# --- Two tabs


def test_the_sign_in_forms_of_two_tabs_both_work(gateway: RunningGateway) -> None:
    """And so does the confirmation page that the first tab has come to meanwhile."""
    browser = Browser(gateway.url)
    asked = authorization(client_id="two-uris", redirect_uri="com.example.two:/cb")
    tabs = [
        browser.get(browser.authorize(**asked, state=state).headers["Location"]) for state in "ab"
    ]
    first, second = (form_of(tab) for tab in tabs)
    consent = browser.get(
        browser.post(first.action, {**first.fields, **CREDENTIALS}).headers["Location"]
    )
    sent = browser.post(second.action, {**second.fields, **CREDENTIALS})
    assert sent.status_code == 303
    second_consent = browser.get(sent.headers["Location"])
    assert answer_of(browser.decide(consent))["state"] == "a"
    assert form_of(second_consent).fields.get("state", "b") == "b"


def test_a_form_from_before_the_sign_in_works_after_it(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    form = form_of(browser.get(SIGN_IN))
    for _ in range(2):
        assert browser.post(form.action, {**form.fields, **CREDENTIALS}).status_code == 303
    assert is_signed_in(browser)


# --- Foreign pages: their forms come without cookies (SameSite=Lax)


@pytest.mark.parametrize("target", [SIGN_IN, SIGN_OUT, APPLICATIONS, f"{SIGN_OUT}?next=/x"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"csrf_token": "x"},
        {**CREDENTIALS, "next": ""},
        {"username": "mallory", "password": "x", "csrf_token": "A" * 43},
    ],
    ids=["empty", "proof", "right", "wrong"],
)
def test_a_foreign_form_changes_no_cookie(
    gateway: RunningGateway, target: str, fields: dict[str, str]
) -> None:
    answer = requests.post(gateway.url + target, fields, allow_redirects=False, timeout=10)
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("target", [SIGN_OUT, f"{SIGN_OUT}?next=/oauth/applications"])
def test_an_image_of_a_foreign_page_changes_no_session(
    gateway: RunningGateway, target: str
) -> None:
    answer = requests.get(gateway.url + target, allow_redirects=False, timeout=10)
    assert "Set-Cookie" not in answer.headers


def test_a_refused_form_says_where_to_start_again(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    refused = browser.post(SIGN_IN, CREDENTIALS)
    assert refused.status_code == 403
    assert f'href="{SIGN_IN}"' in refused.text
    assert browser.sign_in().status_code == 303


def test_a_failed_form_leaves_the_session_as_it_was(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    wrong = {"username": "zoë", "password": "x" * 1100}
    for fields in ({}, {"csrf_token": "x"}, {**form_of(browser.get(SIGN_IN)).fields, **wrong}):
        assert "Set-Cookie" not in browser.post(SIGN_IN, fields).headers
    assert is_signed_in(browser)


# --- The backend is at the same host


OWN = [
    "gateway_session=evil",
    "gateway_session=; Max-Age=0",
    "gateway_session_browser=evil; Path=/",
    " gateway_session =evil",
    "Gateway_Session=evil",
    "=gateway_session=evil",
    "gateway_session",
]
OTHERS = ["sid=1", "gateway_session2=1; Path=/", "a=gateway_session=1", "x_gateway_session=1"]


@pytest.mark.parametrize(("cookie", "own"), [(c, True) for c in OWN] + [(c, False) for c in OTHERS])
def test_the_backend_sets_every_cookie_but_the_gateways(
    gateway: RunningGateway, *, cookie: str, own: bool
) -> None:
    headers = {"Please-Set-Cookie": cookie.strip()}
    answer = requests.get(f"{gateway.url}/public/x", headers=headers, timeout=10)
    assert answer.status_code == 200
    assert answer.headers.get("Set-Cookie") == (None if own else cookie)


def test_two_gateways_on_one_host_keep_their_sessions_apart(tmp_path: Path) -> None:
    named = (('method = "password"', 'method = "password"\ncookie_name = "second"'),)
    with (
        running_gateway("standalone", tmp_path / "one") as one,
        running_gateway("standalone", tmp_path / "two", replace=named) as two,
    ):
        browser = Browser(one.url)
        # A cookie is for a host, whatever the port (RFC 6265 §8.5).
        other = Browser(two.url, browser.session)
        assert browser.sign_in().status_code == other.sign_in("zoë").status_code == 303
        names = {cookie.name for cookie in browser.session.cookies}
        assert {"gateway_session", "second"} < names
        assert (is_signed_in(browser), is_signed_in(other)) == (True, True)
