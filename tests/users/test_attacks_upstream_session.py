"""The backend says whose its cookie is; no other answer and no other header does."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests

from tests.support.oauth_client import (
    AUTHORIZE,
    REDIRECT_URI,
    Browser,
    Client,
    answer_of,
    form_of,
    headers_of,
)
from tests.support.recording import WHO, Recorded, recorded_gateway, session_cookie
from tests.support.running_gateway import PASSWORD
from tests.users.signing_in import ASKED, SIGN_IN, SIGN_OUT


@pytest.fixture(scope="module", params=["wrapped", "standalone"])
def upstream_session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recorded]:
    """A gateway that asks the backend whose its cookie is."""
    folder = tmp_path_factory.mktemp(f"upstream-{request.param}")
    method = (('method = "password"', 'method = "upstream_session"'),)
    with recorded_gateway(request.param, folder, replace=method) as running:
        yield running


def known_to_the_backend(recorded: Recorded, answer: object, status: int = 200) -> Browser:
    """Return a browser about whose cookie the backend gives this answer."""
    browser = Browser(recorded.gateway.url)
    name, _, value = session_cookie(answer, status).partition("=")
    browser.session.cookies.set(name, value, domain="127.0.0.1", path="/")
    return browser


def test_the_backends_own_user_confirms(upstream_session: Recorded) -> None:
    gateway = upstream_session.gateway
    ann = known_to_the_backend(upstream_session, {"message": "ann@example.com"})
    page = ann.get(ASKED)
    assert "ann@example.com" in page.text
    upstream_session.reached()
    allowed = ann.decide(page)
    client = Client(gateway.url, "two-uris", redirect_uri="com.example.two:/cb")
    token = client.redeem(answer_of(allowed)["code"]).json()["access_token"]
    echoed = client.get("/private", token).json()
    assert headers_of(echoed, "X-Forwarded-User") == ["ann@example.com"]
    asked = upstream_session.reached()[0]
    assert (asked.method, asked.target) == ("GET", WHO)
    cookies = dict(asked.headers)["Cookie"]
    assert "gateway_session" not in cookies
    assert cookies.startswith("sid=")


def test_a_page_shown_to_one_user_of_the_backend_does_not_answer_for_another(
    upstream_session: Recorded,
) -> None:
    browser = known_to_the_backend(upstream_session, {"message": "cyd@example.com"})
    fields = {**form_of(browser.get(ASKED)).fields, "decision": "allow"}
    name, _, value = session_cookie({"message": "bob@example.com"}).partition("=")
    browser.session.cookies.set(name, value, domain="127.0.0.1", path="/")
    answer = browser.post(AUTHORIZE, fields)
    assert answer.status_code == 403
    assert "Location" not in answer.headers


NOBODY = [
    ({"message": "Guest"}, 200),
    ({"message": ""}, 200),
    ({"message": None}, 200),
    ({"message": ["ann"]}, 200),
    ({"message": {"name": "ann"}}, 200),
    ({"message": 1}, 200),
    ({"user": "ann"}, 200),
    ({"message": "ann"}, 401),
    ({"message": "ann"}, 403),
    ({"message": " ann"}, 200),
    ({"message": "ann\n"}, 200),
    ({"message": "a\u200bnn"}, 200),
    ({"message": "ann\x00"}, 200),
    ({"message": "ann\ud800"}, 200),
    ({"message": "ann\r\nX-Forwarded-Scope: admin"}, 200),
]


@pytest.mark.parametrize(("answer", "status"), NOBODY)
def test_who_is_nobody_to_the_backend_is_sent_to_its_sign_in(
    upstream_session: Recorded, answer: object, status: int
) -> None:
    sent = known_to_the_backend(upstream_session, answer, status).get(ASKED)
    assert sent.status_code == 302
    assert sent.headers["Location"].startswith("/login?redirect-to=%2Foauth%2Fauthorize%3F")
    assert urlsplit(sent.headers["Location"]).query.count("&") == 0


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ([], 200),
        ("ann", 200),
        (None, 200),
        ({"message": "ann"}, 500),
        ({"message": "ann"}, 302),
        ({"message": "ann"}, 404),
        ({"message": "ann"}, 201),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_nobody(
    upstream_session: Recorded, answer: object, status: int
) -> None:
    page = known_to_the_backend(upstream_session, answer, status).get(ASKED)
    assert page.status_code == 503
    assert "Location" not in page.headers


def test_without_a_cookie_the_backend_is_not_even_asked(upstream_session: Recorded) -> None:
    upstream_session.reached()
    browser = Browser(upstream_session.gateway.url)
    browser.session.cookies.set("gateway_session", "s" * 43, domain="127.0.0.1", path="/")
    for headers in ({}, {"Authorization": "Bearer x"}, {"X-Forwarded-User": "ann"}):
        assert browser.get(ASKED, headers=headers).status_code == 302
    assert upstream_session.reached() == []


def test_the_question_of_whose_a_cookie_is_bears_nothing_else_of_the_client(
    upstream_session: Recorded,
) -> None:
    browser = known_to_the_backend(upstream_session, {"message": "dan@example.com"})
    upstream_session.reached()
    forged = {"Authorization": "Bearer x", "X-Forwarded-User": "admin", "X-Original-URL": "/x"}
    assert browser.get(ASKED, headers=forged).status_code == 200
    [asked] = upstream_session.reached()
    assert not {"Authorization", "X-Forwarded-User", "X-Original-Url"} & dict(asked.headers).keys()


def test_there_is_no_password_to_try_where_the_backend_knows_the_user(
    upstream_session: Recorded,
) -> None:
    url = upstream_session.gateway.url
    credentials = {"username": "demo", "password": PASSWORD}
    for target in (SIGN_IN, SIGN_OUT):
        assert requests.get(url + target, timeout=5).status_code == 404
        posted = requests.post(url + target, credentials, timeout=5)
        assert (posted.status_code, "Set-Cookie" in posted.headers) == (404, False)


def test_signing_in_at_the_backend_gives_no_token_by_itself(upstream_session: Recorded) -> None:
    browser = known_to_the_backend(upstream_session, {"message": "ann@example.com"})
    assert browser.get("/private").status_code == 401
    assert browser.get(f"{AUTHORIZE}?client_id=my-app&response_type=code").status_code == 200
    assert REDIRECT_URI.startswith("http://localhost")
