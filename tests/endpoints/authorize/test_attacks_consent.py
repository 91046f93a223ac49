"""A user's decision counts for the request, the browser and the user that the page was shown to."""

from __future__ import annotations

from html import unescape
from urllib.parse import urlencode

import pytest

from tests.endpoints.authorize.authorization import APP, assert_page, error_of
from tests.support.oauth_client import AUTHORIZE, Browser, answer_of, form_of
from tests.support.running_gateway import RunningGateway


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
