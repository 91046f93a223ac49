"""When a grant and its tokens end, and what prolongs them."""

from __future__ import annotations

from gateway.config.settings import Tokens
from gateway.tokens.grant import Issued, Refusal
from tests.support.stand import LIFETIMES, Stand
from tests.support.store import grant_key, stored_grant
from tests.tokens.held_grant import Held, held_grant, why


def test_no_token_outlives_the_absolute_end_of_its_grant(stand: Stand) -> None:
    lifetimes = Tokens(
        access_seconds=600, refresh_seconds=1000, refresh_grace_seconds=30, grant_seconds=2000
    )
    held = held_grant(stand, lifetimes)
    assert isinstance(held.redeem(), Issued)
    token = held.refresh
    for expected in (600, 300):
        held.let_pass(850)
        issued = held.rotate(token)
        assert isinstance(issued, Issued)
        assert expected - 5 <= issued.expires_in <= expected
        left = held.redis.pttl(grant_key(held.code.grant_id))
        assert left <= 1_000_000
        token = held.successor(token)
    assert left <= 300_000
    held.let_pass(310)
    assert why(held.rotate(token)) is Refusal.UNKNOWN
    assert held.everything() == {}


def test_a_grant_that_is_not_used_ends_after_its_idle_time(redeemed: Held) -> None:
    redeemed.let_pass(LIFETIMES.refresh_seconds - 50)
    assert isinstance(redeemed.rotate(redeemed.refresh), Issued)
    redeemed.let_pass(LIFETIMES.refresh_seconds + 50)
    assert why(redeemed.rotate(redeemed.successor(redeemed.refresh))) is Refusal.UNKNOWN
    assert redeemed.everything() == {}


def test_an_access_token_lives_as_long_as_was_said_where_refresh_tokens_live_shorter(
    stand: Stand,
) -> None:
    held = held_grant(stand, Tokens(access_seconds=600, refresh_seconds=100, grant_seconds=9000))
    held.redeem()
    held.let_pass(500)
    assert held.store.access_token(held.access) is not None
    held.let_pass(150)
    assert held.store.access_token(held.access) is None


def test_a_use_that_is_refused_is_not_noted_as_the_last(redeemed: Held) -> None:
    grant = redeemed.code.grant_id
    redeemed.let_pass(100)
    before = stored_grant(redeemed.redis, grant)["used"]
    redeemed.store.revoke(redeemed.access, "one", whole_grant=False)
    assert redeemed.store.access_token(redeemed.access) is None
    assert stored_grant(redeemed.redis, grant)["used"] == before


def test_noting_a_use_does_not_prolong_a_grant(redeemed: Held) -> None:
    grant = redeemed.code.grant_id
    redeemed.let_pass(300)
    left = redeemed.redis.pttl(grant_key(grant))
    before = stored_grant(redeemed.redis, grant)
    assert redeemed.store.access_token(redeemed.access) is not None
    after = stored_grant(redeemed.redis, grant)
    assert after.pop("used") > before.pop("used")
    assert after == before
    assert redeemed.redis.pttl(grant_key(grant)) <= left
