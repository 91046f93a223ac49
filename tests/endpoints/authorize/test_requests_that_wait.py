"""An authorization request waits while its user signs in, and goes on as it was sent."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import requests
from requests import Response

from tests.endpoints.authorize.authorization import APP, assert_page, error_of
from tests.support.oauth_client import AUTHORIZE, REDIRECT_URI, Browser, answer_of, form_of
from tests.support.running_gateway import PASSWORD, RunningGateway

# More than any hop on the way takes, were it escaped once more.
LONGEST_LINE = 8000


def sign_in(browser: Browser, redirect: Response) -> Response:
    """Go to the sign-in page that a redirect leads to, sign in, and go on."""
    form = form_of(browser.get(redirect.headers["Location"]))
    sent = browser.post(form.action, {**form.fields, "username": "zoë", "password": PASSWORD})
    assert sent.status_code == 303
    return browser.get(sent.headers["Location"])


STATES = [
    "x" * 4000,
    '{"' * 850,
    "é",
    "日本" * 300,
    "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{PERSONAL COMPUTER}",
    "\u0645\u06cc\u200c\u062e\u0648",
    "\u202e\ufeff\u00a0",
    "%25%2525&state=x;+ #'\"<>\\",
    " ",
]


@pytest.mark.parametrize("state", STATES, ids=range(len(STATES)))
def test_a_state_comes_back_exactly_through_sign_in_and_confirmation(
    gateway: RunningGateway, state: str
) -> None:
    browser = Browser(gateway.url)
    # As a form: not every server takes so long a request line.
    by_form = browser.post(AUTHORIZE, {**APP, "state": state})
    first = browser.get(by_form.headers["Location"])
    assert len(first.headers["Location"]) < 200
    page = sign_in(browser, first)
    assert page.status_code == 200
    denied = browser.decide(page, "deny")
    assert answer_of(denied)["state"] == state
    assert len(denied.headers["Location"]) < LONGEST_LINE


@pytest.mark.parametrize("state", ["x" * 4097, "é" * 1300, '{"' * 2000], ids=range(3))
def test_a_state_that_no_hop_carries_is_refused_at_once(demo: Browser, state: str) -> None:
    sent = demo.post(AUTHORIZE, {**APP, "state": state})
    assert error_of(sent) == "invalid_request"
    assert "state" not in answer_of(sent)


@pytest.mark.parametrize("fault", [{"response_type": "token"}, {"scope": "admin"}, {"state": "\n"}])
def test_a_user_signs_in_before_a_faulty_request_goes_to_the_client(
    gateway: RunningGateway, fault: dict[str, str]
) -> None:
    """RFC 9700 §4.11.2."""
    browser = Browser(gateway.url)
    first = browser.authorize(**{**APP, **fault})
    assert first.headers["Location"].startswith("/oauth/sign-in?next=")
    told = sign_in(browser, first)
    assert told.headers["Location"].startswith("https://two.example/cb?kept=yes&error=")


def waiting_target(redirect: Response) -> str:
    return dict(parse_qsl(urlsplit(redirect.headers["Location"]).query))["next"]


def test_a_request_waits_for_the_browser_that_brought_it(
    gateway: RunningGateway, demo: Browser
) -> None:
    browser = Browser(gateway.url)
    first = browser.authorize(**APP)
    assert_page(demo.get(waiting_target(first)))
    assert sign_in(browser, first).status_code == 200


@pytest.mark.parametrize("query", ["waiting=", "waiting=x", f"waiting={'A' * 43}", "waiting=%00"])
def test_a_request_that_waits_nowhere_is_a_page(demo: Browser, nobody: Browser, query: str) -> None:
    for browser in (demo, nobody):
        assert_page(browser.get(f"{AUTHORIZE}?{query}"))


def test_a_waiting_request_takes_no_parameters_from_elsewhere(demo: Browser) -> None:
    target = waiting_target(Browser(demo.gateway).authorize(**APP))
    assert_page(demo.get(f"{target}&scope=profile"))


# --- A request that comes as a form (RFC 6749 §3.1)


def test_a_request_by_post_is_as_one_by_get(
    gateway: RunningGateway, demo: Browser, asked: dict[str, str]
) -> None:
    sent = demo.post(AUTHORIZE, asked)
    assert sent.status_code == 303
    page = demo.get(sent.headers["Location"])
    assert form_of(page).fields.items() >= asked.items()
    assert answer_of(demo.decide(page)).keys() == {"code", "state", "iss"}


def test_a_request_by_post_of_nobody_leads_to_the_sign_in(
    gateway: RunningGateway, asked: dict[str, str]
) -> None:
    browser = Browser(gateway.url)
    # Another site's form, so the browser leaves its cookies out (SameSite=Lax).
    sent = requests.post(gateway.url + AUTHORIZE, asked, allow_redirects=False, timeout=10)
    assert "Set-Cookie" not in sent.headers
    page = sign_in(browser, browser.get(sent.headers["Location"]))
    assert form_of(page).fields.items() >= asked.items()


@pytest.mark.parametrize("wrong", [{"client_id": "unknown"}, {"redirect_uri": "https://x.example"}])
def test_a_request_by_post_for_an_unknown_place_is_a_page(
    demo: Browser, nobody: Browser, asked: dict[str, str], wrong: dict[str, str]
) -> None:
    for browser in (demo, nobody):
        assert_page(browser.post(AUTHORIZE, {**asked, **wrong}))


def test_a_faulty_request_by_post_is_told_to_the_client(demo: Browser) -> None:
    told = demo.post(AUTHORIZE, {"client_id": "my-app", "response_type": "token"})
    assert told.headers["Location"].startswith(f"{REDIRECT_URI}?error=")
    assert error_of(told) == "unsupported_response_type"


# --- Who may ask


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Mode": "same-origin", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "object"},
        {"Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Dest": "empty"},
    ],
    ids=lambda headers: "-".join(headers.values()),
)
def test_a_script_of_the_same_origin_neither_reads_nor_answers_a_page(
    demo: Browser, asked: dict[str, str], headers: dict[str, str]
) -> None:
    headers = {"Sec-Fetch-Site": "same-origin", **headers}
    fields = {**form_of(demo.authorize(**asked)).fields, "decision": "allow"}
    target = f"{AUTHORIZE}?{urlencode(asked)}"
    assert_page(demo.get(target, headers=headers), 403)
    assert_page(demo.post(AUTHORIZE, fields, headers=headers), 403)
    for page in ("/oauth/sign-in", "/oauth/sign-out", "/oauth/applications"):
        assert "csrf_token" not in demo.get(page, headers=headers).text
    assert demo.authorize(**asked).status_code == 200


def test_a_person_who_goes_to_the_page_sees_it(demo: Browser, asked: dict[str, str]) -> None:
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    page = demo.get(f"{AUTHORIZE}?{urlencode(asked)}", headers=headers)
    fields = {**form_of(page).fields, "decision": "allow"}
    assert "code" in answer_of(demo.post(AUTHORIZE, fields, headers=headers))


# --- HEAD


def test_head_opens_no_grant(demo: Browser, asked: dict[str, str]) -> None:
    """Neither where the user has allowed the client before, nor where nobody is asked."""
    demo.decide(demo.authorize(**asked))
    own_app = {"client_id": "own-app", "response_type": "code"}
    for parameters in (asked, own_app):
        answer = demo.session.head(f"{demo.gateway}{AUTHORIZE}?{urlencode(parameters)}")
        assert (answer.status_code, "Location" in answer.headers) == (200, False)
        assert "code" in answer_of(demo.authorize(**parameters))
