"""'Take back' is about an application: every grant of it, and every code on its way."""

from __future__ import annotations

import re

import pytest
from requests import Response

from tests.support.assertions import assert_refused
from tests.support.oauth_client import Browser, form_of
from tests.support.parties import Parties, signed_in_browser
from tests.support.running_gateway import RunningGateway
from tests.users.signing_in import APPLICATIONS


def take_back(browser: Browser, client_id: str) -> Response:
    fields = form_of(browser.get(APPLICATIONS)).fields
    return browser.post(APPLICATIONS, {**fields, "client_id": client_id})


@pytest.fixture(scope="module")
def zoe(gateway: RunningGateway) -> Parties:
    """The same clients, with another user."""
    return Parties(gateway.url, signed_in_browser(gateway.url, "zoë"))


def test_an_application_with_many_grants_is_one_entry(zoe: Parties) -> None:
    for scope in ("project", "profile", "project"):
        zoe.tokens(zoe.public, scope=scope)
    page = zoe.browser.get(APPLICATIONS).text
    assert page.count('name="client_id" value="my-app"') == page.count("My App</bdi></h2>") == 1


def test_the_button_ends_every_grant_and_every_code_on_its_way(zoe: Parties) -> None:
    first, second = (zoe.tokens(zoe.public) for _ in range(2))
    other = zoe.tokens(zoe.confidential)
    of_demo = parties_at_same(zoe).tokens(zoe.public)
    codes = [zoe.code(zoe.public) for _ in range(2)]
    assert take_back(zoe.browser, "my-app").status_code == 303
    for code in codes:
        assert_refused(zoe.public.redeem(code), "invalid_grant")
    assert_refused(zoe.public.refresh(second.refresh), "invalid_grant")
    assert [zoe.is_valid(each.access) for each in (first, second)] == [False, False]
    assert zoe.is_valid(other.access)
    assert zoe.is_valid(of_demo.access)
    assert "my-app" not in zoe.browser.get(APPLICATIONS).text


def parties_at_same(parties: Parties) -> Parties:
    """Return the clients at the same gateway with the user demo."""
    return Parties(parties.url, signed_in_browser(parties.url))


def test_a_code_alone_is_taken_back_too(zoe: Parties) -> None:
    take_back(zoe.browser, "my-app")
    code = zoe.code(zoe.public)
    assert take_back(zoe.browser, "my-app").status_code == 303
    assert_refused(zoe.public.redeem(code), "invalid_grant")


@pytest.mark.parametrize("client_id", ["", "nobody", "MY-APP", "my-app ", "é", "*", "x" * 3000])
def test_the_name_of_no_application_takes_nothing_back(zoe: Parties, client_id: str) -> None:
    tokens = zoe.tokens(zoe.public)
    assert take_back(zoe.browser, client_id).status_code == 303
    assert zoe.is_valid(tokens.access)


def test_the_page_says_when_access_ends(zoe: Parties) -> None:
    zoe.tokens(zoe.public)
    page = zoe.browser.get(APPLICATIONS).text
    assert re.search(r"<dt>Ends</dt>\s*<dd>in \d+ days at the latest</dd>", page)
