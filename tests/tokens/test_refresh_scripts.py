"""The script that exchanges a refresh token: repeated, set back, and with another key."""

from __future__ import annotations

from gateway.tokens.grant import Issued, Refusal
from gateway.tokens.token import Kind, TokenKey
from tests.support.stand import LIFETIMES, Stand
from tests.tokens.held_grant import Held, held_grant, why


def test_a_store_that_was_set_back_by_one_exchange_logs_nobody_out(redeemed: Held) -> None:
    """The client was given the successor, and the store has forgotten that it was."""
    first = redeemed.refresh
    second = redeemed.successor(first)
    third = redeemed.successor(second)
    before = redeemed.value()
    assert isinstance(redeemed.rotate(first), Issued)
    redeemed.set_back(before)
    assert isinstance(redeemed.rotate(second), Issued)
    # A second tab, and a tab that still has the token before.
    for token in (second, first, second):
        assert isinstance(redeemed.rotate(token), Issued)
        assert redeemed.store.is_current_refresh(third) is not None
    redeemed.let_pass(500)
    assert why(redeemed.rotate(first)) is Refusal.REUSED
    assert redeemed.value() is None


def test_who_was_never_given_the_successor_cannot_use_that_the_store_was_set_back(
    redeemed: Held,
) -> None:
    """A genuine token that is further ahead than one exchange is taken for reused."""
    tokens = [redeemed.refresh]
    before = redeemed.value()
    for _ in range(2):
        assert isinstance(redeemed.rotate(tokens[-1]), Issued)
        tokens.append(redeemed.successor(tokens[-1]))
    redeemed.set_back(before)
    assert why(redeemed.rotate(tokens[-1])) is Refusal.REUSED


def test_an_exchange_repeated_in_the_grace_time_brings_no_access_token_back(
    redeemed: Held,
) -> None:
    """Neither a revoked one nor an expired one."""
    access = redeemed.access_of(redeemed.refresh)
    first = redeemed.rotate(redeemed.refresh)
    assert isinstance(first, Issued)
    assert first.expires_in == LIFETIMES.access_seconds
    redeemed.store.revoke(access, "one", whole_grant=False)
    again = redeemed.rotate(redeemed.refresh)
    assert isinstance(again, Issued)
    assert redeemed.store.access_token(access) is None
    redeemed.let_pass(400)
    again = redeemed.rotate(redeemed.refresh)
    assert isinstance(again, Issued)
    assert again.expires_in == 0
    assert redeemed.store.access_token(access) is None


def test_another_scope_in_the_grace_time_lives_no_longer_than_the_first(redeemed: Held) -> None:
    redeemed.rotate(redeemed.refresh)
    redeemed.let_pass(300)
    narrowed = redeemed.rotate(redeemed.refresh, scope="project")
    assert isinstance(narrowed, Issued)
    assert 0 < narrowed.expires_in <= LIFETIMES.access_seconds - 300


def test_a_gateway_without_the_newer_key_gives_no_other_successor(stand: Stand) -> None:
    """While a key is changed, gateways with and without it work side by side for a moment."""
    old, new = TokenKey(b"o" * 32), TokenKey(b"n" * 32)
    held = held_grant(stand, key=old)
    assert isinstance(held.redeem(), Issued)
    assert isinstance(held.rotate(held.refresh, new, old), Issued)
    given = new.derived(Kind.REFRESH, held.refresh)
    kept = held.everything()
    assert why(held.rotate(held.refresh, old)) is Refusal.UNKNOWN
    assert held.everything() == kept
    repeated = held.rotate(held.refresh, old, new)
    assert isinstance(repeated, Issued)
    assert repeated.candidate == 1
    assert isinstance(held.rotate(given, new, old), Issued)
