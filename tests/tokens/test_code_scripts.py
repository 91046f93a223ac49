"""The script that redeems a code: repeated, raced, and with a wrong proof."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from gateway.protocol.pkce import s256_challenge
from gateway.tokens.grant import Issued, Refusal
from gateway.tokens.token import Kind
from tests.tokens.held_grant import Held, why


def test_the_request_that_redeemed_a_code_may_repeat_it(held: Held) -> None:
    """A reply that was lost on the way from the store is asked for again."""
    first = held.redeem("lost")
    kept = held.everything()
    again = held.redeem("lost")
    assert isinstance(first, Issued)
    assert isinstance(again, Issued)
    assert (again.grant, again.scope) == (first.grant, first.scope)
    assert first.expires_in - 5 <= again.expires_in <= first.expires_in
    assert held.everything() == kept
    assert why(held.redeem("another")) is Refusal.REPLAYED
    assert held.value() is None


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        ({"client_id": "two"}, Refusal.CLIENT),
        ({"redirect_uri": ""}, Refusal.REDIRECT_URI),
        ({"redirect_uri": "https://one.example/cb/"}, Refusal.REDIRECT_URI),
        ({"code_challenge": ""}, Refusal.CODE_VERIFIER),
        ({"code_challenge": s256_challenge("x" * 43)}, Refusal.CODE_VERIFIER),
    ],
    ids=["client", "no redirect_uri", "redirect_uri", "no verifier", "verifier"],
)
@pytest.mark.parametrize("is_replay", [False, True], ids=["first", "replay"])
def test_a_wrong_proof_changes_nothing_in_the_store(
    held: Held, changed: dict[str, str], refusal: Refusal, *, is_replay: bool
) -> None:
    if is_replay:
        held.redeem()
    kept = held.everything()
    assert why(held.redeem("wrong", **changed)) is refusal
    assert held.everything() == kept


def test_a_code_of_another_text_is_unknown_to_its_grant(held: Held) -> None:
    kept = held.everything()
    other = replace(held, code=held.key.random(Kind.CODE, held.code.grant_id))
    assert why(other.redeem()) is Refusal.UNKNOWN
    assert held.everything() == kept


def test_of_fifty_parallel_redemptions_at_the_store_one_succeeds(held: Held) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda number: held.redeem(str(number)), range(50)))
    assert sum(isinstance(each, Issued) for each in answers) == 1
    assert Refusal.REPLAYED in map(why, answers)
    assert held.value() is None
