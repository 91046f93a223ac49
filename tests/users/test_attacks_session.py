"""A session is begun by signing in, is ended by signing out, and is read from its cookie alone."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest

from tests.support.oauth_client import Browser, form_of
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway
from tests.users.signing_in import (
    APPLICATIONS,
    SIGN_IN,
    SIGN_OUT,
    is_signed_in,
    session_of,
    with_session,
)


def test_the_session_id_changes_at_sign_in(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    before = session_of(browser)
    browser.sign_in()
    assert session_of(browser) != before
    assert is_signed_in(browser)
    assert not is_signed_in(with_session(gateway, before))


def test_a_planted_session_id_is_not_the_one_that_is_signed_in(gateway: RunningGateway) -> None:
    planted = "p" * 43
    victim = Browser(gateway.url)
    victim.session.cookies.set("gateway_session", planted, domain="127.0.0.1", path="/")
    assert victim.sign_in().status_code == 303
    assert session_of(victim) != planted
    assert not is_signed_in(with_session(gateway, planted))


def test_signing_in_again_ends_the_session_before(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    first = session_of(browser)
    browser.sign_in("zoë")
    assert session_of(browser) != first
    assert not is_signed_in(with_session(gateway, first))


def test_signing_out_ends_the_session_in_the_store(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    session = session_of(browser)
    page = browser.get(SIGN_OUT)
    assert is_signed_in(with_session(gateway, session))
    out = browser.post(SIGN_OUT, form_of(page).fields)
    assert out.status_code == 200
    assert re.search(r"gateway_session=;.*(Max-Age=0|1970)", out.headers["Set-Cookie"])
    assert not is_signed_in(with_session(gateway, session))


@pytest.mark.parametrize("proof", [None, "", "x", "another's"])
def test_nobody_is_signed_out_by_a_foreign_page(gateway: RunningGateway, proof: str | None) -> None:
    browser, other = Browser(gateway.url), Browser(gateway.url)
    browser.sign_in()
    if proof == "another's":
        other.sign_in()
        proof = form_of(other.get(SIGN_OUT)).fields["csrf_token"]
    answer = browser.post(SIGN_OUT, {} if proof is None else {"csrf_token": proof})
    assert answer.status_code in {400, 403}
    assert is_signed_in(browser)


def test_a_cookie_is_for_this_host_not_for_scripts_and_not_for_foreign_posts(
    gateway: RunningGateway,
) -> None:
    browser = Browser(gateway.url)
    for own, answer in (
        ("gateway_session_browser", browser.get(SIGN_IN)),
        ("gateway_session", browser.sign_in()),
    ):
        name, _, rest = answer.raw.headers.getlist("Set-Cookie")[0].partition("=")
        value, *attributes = rest.split("; ")
        assert name == own
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", value)
        assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax"]


@pytest.mark.parametrize(
    "session",
    ["", "x", "A" * 42, "A" * 44, "A" * 43 + "=", "../" + "A" * 40, "A" * 42 + "\xe9", '"{}"'],
)
def test_what_is_no_session_id_of_ours_is_nobodys(gateway: RunningGateway, session: str) -> None:
    answer = request(gateway.port, APPLICATIONS, f"Cookie: gateway_session={session}")
    assert answer.status == 302
    assert answer.values("Location") == [f"{SIGN_IN}?next={quote(APPLICATIONS, safe='')}"]


def test_a_session_comes_in_its_cookie_or_not_at_all(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    session = session_of(browser)
    for target, headers in (
        (f"{APPLICATIONS}?gateway_session={session}", ()),
        (APPLICATIONS, (f"gateway-session: {session}",)),
        (APPLICATIONS, (f"Authorization: Bearer {session}",)),
        (APPLICATIONS, (f"Cookie: GATEWAY_SESSION={session}",)),
        (APPLICATIONS, (f"Cookie: a=1,gateway_session={session}",)),
        (APPLICATIONS, (f"Cookie: \xc2\xa0gateway_session={session}",)),
        (APPLICATIONS, (f"Cookie: \xe2\x80\x80gateway_session={session}",)),
    ):
        assert request(gateway.port, target, *headers).status == 302, (target, headers)
    assert request(gateway.port, APPLICATIONS, f"Cookie: gateway_session={session}").status == 200


def test_of_two_session_cookies_the_valid_one_counts(gateway: RunningGateway) -> None:
    browser, other = Browser(gateway.url), Browser(gateway.url)
    browser.sign_in()
    other.sign_in("zoë")
    session, planted = session_of(browser), session_of(other)

    def status(*values: str) -> int:
        cookie = "; ".join(f"gateway_session={value}" for value in values)
        return request(gateway.port, APPLICATIONS, f"Cookie: {cookie}").status

    for worthless in ("p" * 43, "x", "", session.swapcase(), session):
        assert status(session, worthless) == status(worthless, session) == 200, worthless
    # Which of two users it is, and which one was planted, cannot be told.
    assert status(session, planted) == status(planted, session) == 302
