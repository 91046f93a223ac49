"""Nobody signs in as another, or signs another in."""

from __future__ import annotations

from time import perf_counter
from urllib.parse import urlencode

import pytest

from tests.support.oauth_client import AUTHORIZE, Browser, authorization, form_of
from tests.support.running_gateway import PASSWORD, RunningGateway
from tests.users.signing_in import APPLICATIONS, ASKED, SIGN_IN, SIGN_OUT, is_signed_in

# Refused before it is hashed, so that many attempts take no time.
WRONG = "x" * 1100


# --- The form


@pytest.mark.parametrize("target", ["", ASKED])
def test_nobody_is_signed_in_by_a_foreign_page(gateway: RunningGateway, target: str) -> None:
    """Signing a victim in as the attacker is an attack as well (RFC 9700 §4.7.1)."""
    attacker, victim = Browser(gateway.url), Browser(gateway.url)
    form = form_of(attacker.get(f"{SIGN_IN}?{urlencode({'next': target})}"))
    fields = {**form.fields, "username": "demo", "password": PASSWORD}
    without_cookie = victim.post(SIGN_IN, fields)
    with_its_own = victim.post(SIGN_IN, fields)
    for answer in (without_cookie, with_its_own):
        assert answer.status_code == 403
        assert "Location" not in answer.headers
    assert not is_signed_in(victim)


def test_the_proof_of_one_target_is_none_for_another(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    fields = form_of(browser.get(SIGN_IN)).fields
    credentials = {"username": "demo", "password": PASSWORD, "next": ASKED}
    assert browser.post(SIGN_IN, {**fields, **credentials}).status_code == 403


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("demo", ""),
        ("demo", "wrong"),
        ("demo", PASSWORD.upper()),
        ("demo", PASSWORD + " "),
        ("Demo", PASSWORD),
        ("demo ", PASSWORD),
        ("demo\x00", PASSWORD),
        ("", PASSWORD),
        ("*", "*"),
        ("d" * 5000, PASSWORD),
    ],
)
def test_a_wrong_name_or_password_are_told_apart_by_nothing(
    standalone: RunningGateway, name: str, password: str
) -> None:
    browser = Browser(standalone.url)
    answer = browser.sign_in(name, password)
    assert answer.status_code == 401
    assert "The user name or the password is wrong." in answer.text
    assert form_of(answer).fields["password"] == ""
    assert not is_signed_in(browser)


def test_a_user_name_is_shown_again_as_text(gateway: RunningGateway) -> None:
    name = "\"><script>alert('1')</script>"
    answer = Browser(gateway.url).sign_in(name, WRONG)
    assert "<script" not in answer.text
    assert form_of(answer).fields["username"] == name


def test_a_sign_in_in_the_query_is_none(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    fields = form_of(browser.get(SIGN_IN)).fields
    query = urlencode({**fields, "username": "demo", "password": PASSWORD})
    assert browser.get(f"{SIGN_IN}?{query}").status_code == 200
    assert browser.post(f"{SIGN_IN}?{query}", {}).status_code in {400, 403}
    assert not is_signed_in(browser)


def test_redirects_after_a_post_are_303(gateway: RunningGateway) -> None:
    """RFC 9700 §4.12: a 307 would send the password on."""
    browser = Browser(gateway.url)
    asked = authorization(client_id="native", redirect_uri="http://127.0.0.1:1/cb")
    signed_in = browser.sign_in(target=f"{AUTHORIZE}?{urlencode(asked)}")
    page = browser.get(signed_in.headers["Location"])
    fields = form_of(page).fields
    bad_scope = browser.post(AUTHORIZE, {**fields, "scope": "admin", "decision": "allow"})
    denied = browser.decide(page, "deny")
    form = form_of(browser.get(APPLICATIONS))
    applications = browser.post(
        APPLICATIONS, {"csrf_token": form.fields.get("csrf_token", ""), "client_id": "x"}
    )
    leave = form_of(browser.get(f"{SIGN_OUT}?next={APPLICATIONS}"))
    signed_out = browser.post(leave.action, leave.fields)
    again = browser.post(AUTHORIZE, {**fields, "decision": "allow"})
    redirects = [signed_in, bad_scope, denied, signed_out, again]
    assert [answer.status_code for answer in redirects] == [303] * 5
    assert applications.status_code in {303, 403}


# --- What the time tells


def test_an_unknown_name_takes_as_long_as_a_wrong_password(standalone: RunningGateway) -> None:
    browser = Browser(standalone.url)

    def seconds(name: str) -> float:
        fields = {**form_of(browser.get(SIGN_IN)).fields, "username": name, "password": "wrong"}
        started = perf_counter()
        assert browser.post(SIGN_IN, fields).status_code == 401
        return perf_counter() - started

    pairs = [(seconds("nobody"), seconds("demo")) for _ in range(4)]
    unknown, known = map(min, zip(*pairs, strict=True))
    # Without a hash to compare it is a thirtieth; a busy machine adds what it will.
    assert 0.2 < unknown / known < 5
