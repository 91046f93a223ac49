"""While the secret key is changed, gateways that sign with either key are one gateway.

The new key is added last at every gateway, then moved first at each in turn, and the old one is
taken out in the end. In between, some sign with the old key and some with the new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from redis import Redis

from tests.support.assertions import assert_refused
from tests.support.oauth_client import TOKEN, Browser, Client, answer_of, authorization, form_of
from tests.support.parties import Parties, Tokens, signed_in_browser
from tests.support.running_gateway import running_gateway
from tests.support.store import embedded, grant_id, grant_key, let_pass

OLD = '"a secret key for tests that is long enough"'
NEW = '"another secret key that is long enough too"'
GRACE = 30


class Rotating(NamedTuple):
    """The parties at the gateways of one store, each with its keys, newest first."""

    old_new: Parties
    new_old: Parties
    new: Parties
    redis: Redis


@pytest.fixture(scope="module")
def rotating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotating]:
    folder: Path = tmp_path_factory.mktemp("rotation")
    data_dir = folder / "data"
    with ExitStack() as stack:
        redis = stack.enter_context(embedded(data_dir))
        urls = [
            stack.enter_context(
                running_gateway(mode, folder / name, data_dir=data_dir, replace=((OLD, keys),))
            ).url
            for name, mode, keys in (
                ("old-new", "standalone", f"[{OLD}, {NEW}]"),
                ("new-old", "wrapped", f"[{NEW}, {OLD}]"),
                ("new", "wrapped", NEW),
            )
        ]
        # Cookies know hosts, not ports: a browser that is signed in at one is at each.
        session = signed_in_browser(urls[0]).session
        old_new, new_old, new = (Parties(url, Browser(url, session)) for url in urls)
        yield Rotating(old_new, new_old, new, redis)


class Two(NamedTuple):
    """The gateway that gives, the one that is asked, and their store."""

    here: Parties
    there: Parties
    redis: Redis


@pytest.fixture(params=["old", "new"])
def two(rotating: Rotating, request: pytest.FixtureRequest) -> Two:
    """The two gateways that know both keys; the one that signs with ``param`` gives."""
    here, there = rotating.old_new, rotating.new_old
    if request.param == "new":
        here, there = there, here
    return Two(here, there, rotating.redis)


def pair_of(answer: requests.Response) -> Tokens:
    """Return the tokens that a client was given."""
    assert answer.status_code == 200, answer.text
    return Tokens(answer.json()["access_token"], answer.json()["refresh_token"])


def assert_valid_at_both(two: Two, access: str) -> None:
    assert two.here.is_valid(access)
    assert two.there.is_valid(access)


def test_a_code_of_one_is_redeemed_at_the_other(two: Two) -> None:
    here, there, _ = two
    tokens = pair_of(there.public.redeem(here.code(here.public)))
    assert_valid_at_both(two, tokens.access)
    code, verifier = here.code_with_pkce()
    assert_refused(there.with_pkce.redeem(code), "invalid_grant")
    tokens = pair_of(there.with_pkce.redeem(code, code_verifier=verifier))
    assert_valid_at_both(two, tokens.access)


def test_a_code_that_one_redeemed_is_replayed_at_the_other(two: Two) -> None:
    """RFC 6749 §4.1.2: its grant ends with all tokens."""
    here, there, _ = two
    code = here.code(here.public)
    tokens = pair_of(here.public.redeem(code))
    assert_refused(there.public.redeem(code), "invalid_grant")
    assert not here.is_valid(tokens.access)
    assert_refused(here.public.refresh(tokens.refresh), "invalid_grant")


def test_an_access_token_of_one_is_good_at_the_other(two: Two) -> None:
    here, there, _ = two
    tokens = here.tokens(here.public)
    assert_valid_at_both(two, tokens.access)
    own = here.service.post(TOKEN, {"grant_type": "client_credentials"}).json()["access_token"]
    assert_valid_at_both(two, own)
    assert there.service.get("/projects/1", own).status_code == 200


def test_a_refresh_repeated_at_the_other_gives_the_same_pair(two: Two) -> None:
    """Whichever key made the token, and whichever made the pair."""
    here, there, redis = two
    tokens = here.tokens(here.confidential, scope="project profile")
    for _ in range(2):
        given = pair_of(there.confidential.refresh(tokens.refresh))
        assert pair_of(here.confidential.refresh(tokens.refresh)) == given
        narrowed = pair_of(there.confidential.refresh(tokens.refresh, scope="project"))
        assert pair_of(here.confidential.refresh(tokens.refresh, scope="project")) == narrowed
        assert narrowed.refresh == given.refresh
        for access in (given.access, narrowed.access):
            assert_valid_at_both(two, access)
        tokens, here, there = given, there, here
    let_pass(redis, grant_id(tokens.refresh), GRACE + 10)
    assert_valid_at_both(two, pair_of(here.confidential.refresh(tokens.refresh)).access)


def test_a_client_may_be_sent_to_and_fro(two: Two) -> None:
    here, there, redis = two
    given = [here.tokens(here.public)]
    for turn in range(6):
        at = (there if turn % 2 else here).public
        given.append(pair_of(at.refresh(given[-1].refresh)))
    assert len({each.refresh for each in given}) == len(given)
    for each in given:
        assert_valid_at_both(two, each.access)
    # Within the grace time each is answered as it was, however many came after it.
    for before, after in pairwise(given):
        assert pair_of(here.public.refresh(before.refresh)) == after
        assert pair_of(there.public.refresh(before.refresh)) == after

    # A token that was exchanged long ago is recognised, whichever key made it.
    let_pass(redis, grant_id(given[0].refresh), GRACE + 10)
    assert pair_of(here.public.refresh(given[-1].refresh))
    assert_refused(there.public.refresh(given[1].refresh), "invalid_grant")
    for each in given:
        assert not here.is_valid(each.access)
        assert not there.is_valid(each.access)


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_what_is_taken_back_at_the_other_is_dead_at_once(two: Two, kind: str) -> None:
    here, there, _ = two
    tokens = here.tokens(here.public)
    assert there.public.revoke(getattr(tokens, kind)).json() == {"message": "success"}
    for parties in (here, there):
        assert not parties.is_valid(tokens.access)
    refreshed = here.public.refresh(tokens.refresh)
    assert refreshed.status_code == (200 if kind == "access" else 400)


def test_both_tell_the_same_about_a_token(two: Two) -> None:
    here, there, _ = two
    tokens = here.tokens(here.confidential)
    for token in (tokens.access, tokens.refresh):
        told = here.confidential.introspect(token).json()
        assert told["active"] is True
        assert there.confidential.introspect(token).json() == told
        assert there.resource_server.introspect(token).json() == told


def test_who_signed_in_at_one_is_signed_in_at_the_other(two: Two) -> None:
    """Cookies are for a host, whatever its port."""
    here, there, _ = two
    browser = signed_in_browser(here.url, "zoë")
    over_there = Browser(there.url, browser.session)
    page = over_there.get("/oauth/applications")
    assert page.status_code == 200
    assert "Zoë Čapek" in page.text
    form = form_of(browser.get("/oauth/sign-out"))
    assert over_there.post(form.action, form.fields).status_code == 200
    assert browser.get("/oauth/applications").status_code == 302


def test_a_page_of_one_is_answered_at_the_other(two: Two) -> None:
    """The sign-in form, the confirmation form, and the form that takes access back."""
    here, there, _ = two
    browser = Browser(here.url)
    over_there = Browser(there.url, browser.session)
    form = form_of(browser.get("/oauth/sign-in"))
    fields = {**form.fields, "username": "zoë", "password": "correct horse"}
    assert over_there.post(form.action, fields).status_code == 303

    asked = authorization(client_id="native", redirect_uri="http://127.0.0.1/cb")
    code = answer_of(over_there.decide(browser.authorize(**asked)))["code"]
    native = Client(there.url, "native", redirect_uri="http://127.0.0.1/cb")
    access = pair_of(native.redeem(code)).access
    fields = form_of(browser.get("/oauth/applications")).fields
    assert fields["client_id"] == "native"
    assert over_there.post("/oauth/applications", fields).status_code == 303
    assert not here.is_valid(access)


# --- The old key is taken out


def test_without_the_old_key_all_that_it_made_is_refused(rotating: Rotating) -> None:
    """No grant ends by that: a gateway that knows the old key takes the tokens as before."""
    old, both, new, redis = rotating
    waiting = old.code(old.public)
    tokens = old.tokens(old.confidential)
    kept = redis.get(grant_key(grant_id(tokens.access)))
    assert not new.is_valid(tokens.access)
    assert_refused(new.confidential.refresh(tokens.refresh), "invalid_grant")
    assert_refused(new.public.redeem(waiting), "invalid_grant")
    for token in (tokens.access, tokens.refresh):
        assert new.confidential.introspect(token).json() == {"active": False}
        assert new.confidential.revoke(token).json() == {"message": "success"}
    assert redis.get(grant_key(grant_id(tokens.access))) == kept

    assert both.is_valid(tokens.access)
    assert both.confidential.introspect(tokens.refresh).json()["active"] is True
    given = pair_of(both.confidential.refresh(tokens.refresh))
    redeemed = pair_of(both.public.redeem(waiting))
    # The new key made the tokens that these gave.
    for client, each in ((new.confidential, given), (new.public, redeemed)):
        assert new.is_valid(each.access)
        next_refresh = pair_of(client.refresh(each.refresh))
        assert old.is_valid(next_refresh.access)


def test_without_the_old_key_what_the_new_one_made_is_good(rotating: Rotating) -> None:
    _, both, new, _ = rotating
    assert new.is_valid(pair_of(new.public.redeem(both.code(both.public))).access)
    tokens = both.tokens(both.confidential)
    assert new.is_valid(tokens.access)
    assert new.confidential.introspect(tokens.access).json()["active"] is True
    given = pair_of(new.confidential.refresh(tokens.refresh))
    assert pair_of(both.confidential.refresh(tokens.refresh)) == given


def test_without_the_old_key_a_successor_that_it_made_is_not_made_anew(rotating: Rotating) -> None:
    """Two tokens would be current then, and one of two honest clients would look like a thief."""
    old, both, new, _ = rotating
    tokens = both.tokens(both.public)
    given = pair_of(old.public.refresh(tokens.refresh))
    assert_refused(new.public.refresh(tokens.refresh), "invalid_grant")
    assert pair_of(both.public.refresh(tokens.refresh)) == given
    assert both.is_valid(given.access)


def test_without_the_old_key_a_page_that_it_signed_is_not_taken(rotating: Rotating) -> None:
    """The user stays signed in: no key makes the cookie."""
    old, both, new, _ = rotating
    asked = authorization(client_id="two-uris", redirect_uri="com.example.two:/cb")
    form = form_of(old.browser.authorize(**asked))
    fields = {**form.fields, "decision": "allow"}
    assert new.browser.post(form.action, fields).status_code == 403
    assert new.browser.get("/oauth/applications").status_code == 200
    assert "code" in answer_of(both.browser.post(form.action, fields))
