"""The pages of the authorization endpoint show text, load nothing and tell no other site."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import quote, urlencode

import pytest

from tests.endpoints.authorize.authorization import APP, HOSTILE_NAME
from tests.support.oauth_client import AUTHORIZE, FRAPPE, Browser, answer_of, form_of
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway

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
    assert HOSTILE_NAME in unescape(page.text)
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
