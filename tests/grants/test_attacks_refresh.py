"""What is tried with refresh tokens, and what happens to them by accident."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from redis import Redis

from tests.support.assertions import assert_not_cached, assert_refused
from tests.support.oauth_client import Browser, Client, authorization, form_of, headers_of
from tests.support.parties import Parties, parties_at, signed_in_browser
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.store import embedded, grant_id, grant_key, let_pass

DAY = 86_400


# One kind is not another.


@pytest.mark.parametrize("kind", ["code", "redeemed code", "refresh token", "old refresh token"])
def test_only_an_access_token_opens_the_way_to_the_backend(parties: Parties, kind: str) -> None:
    client = parties.public
    presented = parties.code(client)
    if kind != "code":
        given = client.redeem(presented).json()
        if kind != "redeemed code":
            presented = given["refresh_token"]
        if kind == "old refresh token":
            client.refresh(presented)
    refused = client.get("/resource", presented)
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
    assert "target" not in refused.json()


@pytest.mark.parametrize("kind", ["access", "code"])
def test_only_a_refresh_token_can_be_exchanged_for_the_next(parties: Parties, kind: str) -> None:
    client = parties.public
    code = parties.code(client)
    given = client.redeem(code).json()
    assert_refused(
        client.refresh({"access": given["access_token"], "code": code}[kind]), "invalid_grant"
    )
    assert parties.is_valid(given["access_token"])
    assert client.refresh(given["refresh_token"]).status_code == 200


def test_a_changed_prefix_makes_no_other_kind(parties: Parties) -> None:
    client = parties.public
    tokens = parties.tokens(client)
    assert not parties.is_valid("gwa" + tokens.refresh[3:])
    assert_refused(client.refresh("gwr" + tokens.access[3:]), "invalid_grant")
    assert_refused(client.redeem("gwc" + tokens.refresh[3:]), "invalid_grant")
    assert client.refresh(tokens.refresh).status_code == 200


def test_a_made_up_refresh_token_of_a_grant_does_not_end_it(parties: Parties) -> None:
    """The grant's id is no secret; only what the gateway made can count as reused."""
    client = parties.public
    tokens = parties.tokens(client)
    for made_up in (
        f"gwr_{grant_id(tokens.refresh)}{'A' * 44}",
        tokens.refresh[:-1] + ("A" if tokens.refresh[-1] != "A" else "B"),
        tokens.refresh[:30] + ("A" if tokens.refresh[30] != "A" else "B") + tokens.refresh[31:],
    ):
        assert_refused(client.refresh(made_up), "invalid_grant")
    assert parties.is_valid(tokens.access)


# By others, and for more.


def test_another_clients_refresh_token_is_refused_and_nothing_changes(
    parties: Parties, redis: Redis
) -> None:
    tokens = parties.tokens(parties.public)
    before = redis.get(grant_key(grant_id(tokens.refresh)))
    for other in (parties.confidential, parties.with_pkce):
        assert_refused(other.refresh(tokens.refresh), "invalid_grant")
    assert redis.get(grant_key(grant_id(tokens.refresh))) == before
    assert parties.is_valid(tokens.access)
    assert parties.public.refresh(tokens.refresh).status_code == 200


def test_a_confidential_clients_refresh_token_needs_its_secret(parties: Parties) -> None:
    """RFC 6749 §10.4."""
    client = parties.confidential
    tokens = parties.tokens(client)
    for thief in (
        Client(client.gateway, "confidential"),
        Client(client.gateway, "confidential", "wrong"),
    ):
        assert_refused(thief.refresh(tokens.refresh), "invalid_client", 401)
    assert client.refresh(tokens.refresh).status_code == 200


@pytest.mark.parametrize("scope", ["project profile", "profile", "project admin", "nonsense"])
def test_a_wider_scope_is_refused_and_nothing_changes(
    parties: Parties, redis: Redis, scope: str
) -> None:
    """RFC 6749 §6."""
    tokens = parties.tokens(parties.public)
    before = redis.get(grant_key(grant_id(tokens.refresh)))
    assert_refused(parties.public.refresh(tokens.refresh, scope=scope), "invalid_scope")
    assert redis.get(grant_key(grant_id(tokens.refresh))) == before
    assert parties.is_valid(tokens.access)
    assert parties.public.refresh(tokens.refresh).status_code == 200


def test_a_scope_narrows_one_access_token_and_not_the_grant(parties: Parties) -> None:
    client = parties.public
    tokens = parties.tokens(client, scope="project profile")
    narrowed = client.refresh(tokens.refresh, scope="profile").json()
    assert narrowed["scope"] == "profile"
    echoed = client.get("/", narrowed["access_token"]).json()
    assert headers_of(echoed, "X-Forwarded-Scope") == ["profile"]
    assert client.get("/projects/7", narrowed["access_token"]).status_code == 403
    whole = client.refresh(narrowed["refresh_token"]).json()
    assert whole["scope"] == "project profile"
    assert client.get("/projects/7", whole["access_token"]).status_code == 200


# Idempotence.


def test_twenty_parallel_refreshes_give_one_and_the_same_pair(parties: Parties) -> None:
    client = parties.public
    tokens = parties.tokens(client)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: client.refresh(tokens.refresh), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    pairs = {(answer.json()["access_token"], answer.json()["refresh_token"]) for answer in answers}
    assert len(pairs) == 1
    ((access, refresh),) = pairs
    assert access != tokens.access
    assert parties.is_valid(access)
    assert client.refresh(refresh).status_code == 200


def test_the_same_call_a_second_later_gives_the_same_pair(parties: Parties, redis: Redis) -> None:
    client = parties.public
    tokens = parties.tokens(client)
    first = client.refresh(tokens.refresh).json()
    let_pass(redis, grant_id(tokens.refresh), 1)
    second = client.refresh(tokens.refresh).json()
    assert first["expires_in"] - 10 <= second.pop("expires_in") < first.pop("expires_in")
    assert second == first


def test_a_tab_that_is_one_step_behind_is_not_logged_out(parties: Parties, redis: Redis) -> None:
    """Within the grace time of each step, and along a whole chain of them."""
    client = parties.public
    chain = [parties.tokens(client).refresh]
    for _ in range(4):
        chain.append(client.refresh(chain[-1]).json()["refresh_token"])
        let_pass(redis, grant_id(chain[0]), 2)
    for old, new in pairwise(chain):
        assert client.refresh(old).json()["refresh_token"] == new


def test_reuse_after_the_grace_time_ends_the_family(parties: Parties, redis: Redis) -> None:
    """RFC 9700 §4.14.2."""
    client = parties.public
    tokens = parties.tokens(client)
    given = client.refresh(tokens.refresh).json()
    let_pass(redis, grant_id(tokens.refresh), 31)
    assert parties.is_valid(given["access_token"])
    refused = client.refresh(tokens.refresh)
    assert_refused(refused, "invalid_grant")
    assert not parties.is_valid(given["access_token"])
    assert not parties.is_valid(tokens.access)
    assert_refused(client.refresh(given["refresh_token"]), "invalid_grant")


def test_reuse_by_another_client_ends_nothing(parties: Parties, redis: Redis) -> None:
    tokens = parties.tokens(parties.public)
    given = parties.public.refresh(tokens.refresh).json()
    let_pass(redis, grant_id(tokens.refresh), 31)
    assert_refused(parties.confidential.refresh(tokens.refresh), "invalid_grant")
    assert parties.is_valid(given["access_token"])


def test_without_moving_any_clock_the_family_dies_after_the_grace_time(
    short_lived: RunningGateway,
) -> None:
    parties = parties_at(short_lived)
    client = parties.public
    tokens = parties.tokens(client)
    first = client.refresh(tokens.refresh).json()
    assert client.refresh(tokens.refresh).json()["refresh_token"] == first["refresh_token"]
    for _ in range(2):
        time.sleep(0.55)
    assert not parties.is_valid(first["access_token"])
    assert_refused(client.refresh(tokens.refresh), "invalid_grant")
    assert_refused(client.refresh(first["refresh_token"]), "invalid_grant")


def test_without_moving_any_clock_a_code_expires(short_lived: RunningGateway) -> None:
    parties = parties_at(short_lived)
    code = parties.code(parties.public)
    for _ in range(2):
        time.sleep(0.55)
    assert_refused(parties.public.redeem(code), "invalid_grant")


# Lifetimes.


def test_a_refresh_token_that_is_not_used_expires(parties: Parties, redis: Redis) -> None:
    tokens = parties.tokens(parties.public)
    let_pass(redis, grant_id(tokens.refresh), 29 * DAY)
    given = parties.public.refresh(tokens.refresh).json()
    let_pass(redis, grant_id(tokens.refresh), 29 * DAY)
    given = parties.public.refresh(given["refresh_token"]).json()
    let_pass(redis, grant_id(tokens.refresh), 30 * DAY)
    assert_refused(parties.public.refresh(given["refresh_token"]), "invalid_grant")


def test_a_grant_ends_however_much_it_is_used(parties: Parties, redis: Redis) -> None:
    refresh = parties.tokens(parties.public).refresh
    for _ in range(14):
        let_pass(redis, grant_id(refresh), 26 * DAY)
        refresh = parties.public.refresh(refresh).json()["refresh_token"]
    # 364 of 365 days have passed.
    let_pass(redis, grant_id(refresh), DAY - 600)
    last = parties.public.refresh(refresh).json()
    assert last["expires_in"] <= 600
    let_pass(redis, grant_id(refresh), 600)
    assert_refused(parties.public.refresh(last["refresh_token"]), "invalid_grant")
    assert not parties.is_valid(last["access_token"])


def test_an_access_token_expires_and_is_not_prolonged_by_a_refresh(
    parties: Parties, redis: Redis
) -> None:
    tokens = parties.tokens(parties.public)
    let_pass(redis, grant_id(tokens.refresh), 3500)
    given = parties.public.refresh(tokens.refresh).json()
    assert parties.is_valid(tokens.access)
    let_pass(redis, grant_id(tokens.refresh), 120)
    assert not parties.is_valid(tokens.access)
    assert parties.is_valid(given["access_token"])


# Restarts.


def test_a_new_secret_key_keeps_grants_sessions_and_retries_alive(tmp_path: Path) -> None:
    """``secret_key = [new, old]``; and without the old one, what it made is worth nothing."""
    old = '"a secret key for tests that is long enough"'
    new = '"another secret key that is long enough too"'
    data_dir = tmp_path / "data"

    def restarted(name: str, secret_key: str) -> Iterator[RunningGateway]:
        with running_gateway(
            "wrapped", tmp_path / name, data_dir=data_dir, replace=((old, secret_key),)
        ) as gateway:
            yield gateway

    with embedded(data_dir):
        for gateway in restarted("old", old):
            parties = Parties(gateway.url, signed_in_browser(gateway.url))
            tokens = parties.tokens(parties.public)
            waiting = parties.code(parties.public)
            pair = parties.public.refresh(tokens.refresh).json()
            page = parties.browser.authorize(**authorization(scope="project profile"))
            assert form_of(page).buttons

        for gateway in restarted("both", f"[{new}, {old}]"):
            parties = Parties(gateway.url, Browser(gateway.url, parties.browser.session))
            assert parties.is_valid(tokens.access)
            assert parties.is_valid(pair["access_token"])
            again = parties.public.refresh(tokens.refresh).json()
            assert again["access_token"] == pair["access_token"]
            assert again["refresh_token"] == pair["refresh_token"]
            assert parties.public.redeem(waiting).status_code == 200
            # The page that was open meanwhile, and the session behind it.
            form = form_of(page)
            allowed = parties.browser.post(form.action, {**form.fields, "decision": "allow"})
            assert allowed.status_code == 303
            code = parties.code(parties.public)
            next_refresh = parties.public.refresh(pair["refresh_token"]).json()

        for gateway in restarted("new", new):
            parties = Parties(gateway.url, Browser(gateway.url, parties.browser.session))
            assert parties.is_valid(next_refresh["access_token"])
            assert parties.public.refresh(next_refresh["refresh_token"]).status_code == 200
            assert parties.public.redeem(code).status_code == 200
            assert not parties.is_valid(pair["access_token"])
            assert_refused(parties.public.refresh(pair["refresh_token"]), "invalid_grant")


def test_who_is_taken_out_of_the_file_is_refused_at_once(tmp_path: Path) -> None:
    """A client that is gone, and a user who is disabled; others go on."""
    data_dir = tmp_path / "data"
    with embedded(data_dir):
        with running_gateway("wrapped", tmp_path / "before", data_dir=data_dir) as gateway:
            parties = Parties(gateway.url, signed_in_browser(gateway.url))
            of_the_client = parties.tokens(parties.confidential)
            others = Parties(gateway.url, signed_in_browser(gateway.url, "zoë"))
            of_the_user = others.tokens(others.public)
            waiting = others.code(others.public)
            kept = parties.tokens(parties.public)
        with running_gateway(
            "wrapped",
            tmp_path / "after",
            data_dir=data_dir,
            replace=(
                ('client_id = "confidential"', 'client_id = "somebody-else"'),
                ('name = "zoë"', 'name = "zoë"\ndisabled = true'),
            ),
        ) as gateway:
            parties = Parties(gateway.url, Browser(gateway.url, parties.browser.session))
            assert parties.is_valid(kept.access)
            for tokens in (of_the_client, of_the_user):
                assert not parties.is_valid(tokens.access)
                answer = parties.resource_server.introspect(tokens.access)
                assert answer.json() == {"active": False}
            assert_refused(
                parties.confidential.refresh(of_the_client.refresh), "invalid_client", 401
            )
            assert_refused(parties.public.refresh(of_the_user.refresh), "invalid_grant")
            assert_refused(parties.public.redeem(waiting), "invalid_grant")
            # The session of the user is over as well, and there is no new one.
            them = Browser(gateway.url, others.browser.session)
            assert "/oauth/sign-in" in them.authorize(**authorization()).headers["Location"]
            assert them.sign_in("zoë").status_code == 401
            refreshed = parties.public.refresh(kept.refresh)
            assert refreshed.status_code == 200
            assert_not_cached(refreshed)
