"""What is taken out of the configuration file is taken from whoever had it, at the reload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from gateway.config.file import load_config
from gateway.users.passwords import hash_password
from tests.support.assertions import assert_refused
from tests.support.oauth_client import Browser, authorization
from tests.support.parties import Parties, Tokens, signed_in_browser
from tests.support.running_gateway import PASSWORD
from tests.support.serving import Served, serving, slow_backend

NEW_PASSWORD = "another password"


@dataclass(frozen=True)
class Reloaded:
    """Who had what before the reload; all of it was good then."""

    served: Served
    demo: Parties
    disabled: Parties
    of_demo: Tokens
    of_disabled: Tokens
    waiting: str
    wide: Tokens
    only_lost: Tokens


@pytest.fixture(scope="module")
def reloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloaded]:
    """A gateway after a reload that disabled zoë, changed demo's password, narrowed a client."""
    folder = tmp_path_factory.mktemp("reload")
    with slow_backend(folder) as backend, serving(folder, backend) as served:
        demo = Parties(served.url, signed_in_browser(served.url))
        zoe = Parties(served.url, signed_in_browser(served.url, "zoë"))
        before = Reloaded(
            served,
            demo,
            zoe,
            of_demo=demo.tokens(demo.public),
            of_disabled=zoe.tokens(zoe.public),
            waiting=zoe.code(zoe.public),
            wide=demo.tokens(demo.confidential, scope="project admin"),
            only_lost=demo.tokens(demo.confidential, scope="admin"),
        )
        for token in (before.of_demo, before.of_disabled):
            assert demo.public.get("/x", token.access).status_code == 200
        assert demo.public.get("/admin/x", before.wide.access).status_code == 200
        assert is_signed_in(demo.browser)
        assert is_signed_in(zoe.browser)

        hashed = load_config(served.config).sign_in.users[0].password_hash
        email = 'email = "demo@example.com"\npassword_hash = '
        served.edit(
            ('full_name = "Zoë Čapek"\n', 'full_name = "Zoë Čapek"\ndisabled = true\n'),
            (f'{email}"{hashed}"', f'{email}"{hash_password(NEW_PASSWORD)}"'),
            ('scopes = ["project", "profile", "admin"]', 'scopes = ["project"]'),
        )
        served.reload()
        yield before


def test_a_disabled_users_token_is_refused(reloaded: Reloaded) -> None:
    client = reloaded.disabled.public
    refused = client.get("/x", reloaded.of_disabled.access)
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    told = reloaded.demo.resource_server.introspect(reloaded.of_disabled.access)
    assert told.json() == {"active": False}


def test_a_disabled_users_refresh_token_and_code_are_refused(reloaded: Reloaded) -> None:
    client = reloaded.disabled.public
    assert_refused(client.refresh(reloaded.of_disabled.refresh), "invalid_grant")
    assert_refused(client.redeem(reloaded.waiting), "invalid_grant")


def test_a_disabled_users_session_is_refused_and_there_is_no_other(reloaded: Reloaded) -> None:
    browser = reloaded.disabled.browser
    assert not is_signed_in(browser)
    asked = browser.authorize(**authorization())
    assert asked.status_code == 302
    assert asked.headers["Location"].partition("?")[0].endswith("/oauth/sign-in")
    assert Browser(reloaded.served.url).sign_in("zoë").status_code == 401


def test_a_new_password_signs_its_user_out_and_is_the_only_one(reloaded: Reloaded) -> None:
    """What the user allowed goes on: the applications never had the password."""
    assert not is_signed_in(reloaded.demo.browser)
    assert Browser(reloaded.served.url).sign_in("demo", PASSWORD).status_code == 401
    browser = Browser(reloaded.served.url)
    assert browser.sign_in("demo", NEW_PASSWORD).status_code == 303
    assert is_signed_in(browser)
    assert reloaded.demo.public.get("/x", reloaded.of_demo.access).status_code == 200


def test_a_scope_that_a_client_lost_is_lost_to_the_tokens_that_have_it(reloaded: Reloaded) -> None:
    client = reloaded.demo.confidential
    assert client.get("/projects/1", reloaded.wide.access).status_code == 200
    refused = client.get("/admin/x", reloaded.wide.access)
    assert refused.status_code == 403
    assert 'scope="admin"' in refused.headers["WWW-Authenticate"]
    for token in (reloaded.wide.access, reloaded.wide.refresh):
        told = client.introspect(token).json()
        assert (told["active"], told["scope"]) == (True, "project")


def test_a_refresh_gives_what_the_client_has_left(reloaded: Reloaded) -> None:
    client = reloaded.demo.confidential
    given = client.refresh(reloaded.wide.refresh).json()
    assert given["scope"] == "project"
    assert client.get("/admin/x", given["access_token"]).status_code == 403
    assert client.get("/projects/1", given["access_token"]).status_code == 200


def test_where_no_scope_is_left_nothing_is(reloaded: Reloaded) -> None:
    """Not even what any valid token may do."""
    client = reloaded.demo.confidential
    assert client.get("/x", reloaded.only_lost.access).status_code == 401
    for token in (reloaded.only_lost.access, reloaded.only_lost.refresh):
        assert client.introspect(token).json() == {"active": False}
    assert_refused(client.refresh(reloaded.only_lost.refresh), "invalid_grant")


def test_a_scope_that_a_client_lost_is_not_refreshed(reloaded: Reloaded) -> None:
    client = reloaded.demo.confidential
    assert_refused(client.refresh(reloaded.wide.refresh, scope="admin"), "invalid_scope")


def test_a_scope_that_a_client_lost_is_not_asked_for_again(reloaded: Reloaded) -> None:
    client = reloaded.demo.confidential
    asked = authorization(
        client_id=client.client_id, redirect_uri=client.redirect_uri, scope="admin"
    )
    browser = Browser(reloaded.served.url)
    browser.session.headers["Connection"] = "close"
    assert browser.sign_in(password=NEW_PASSWORD).status_code == 303
    answer = browser.authorize(**asked)
    assert "error=invalid_scope" in answer.headers["Location"]


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/oauth/applications").status_code == 200
