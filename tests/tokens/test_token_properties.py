"""A text is a token, or the proof of a form, only if a key of this gateway made it."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from gateway.tokens.token import Kind, TokenKey, TokenKeys, new_grant_id
from tests.support.properties import pure

KEYS = TokenKeys((b"a" * 32, b"b" * 32))
OTHER_KEY = TokenKey(b"c" * 32)
kinds = st.sampled_from(list(Kind))


@pure
@given(kinds, st.integers(0, 67), st.text(min_size=1, max_size=1), st.data())
def test_no_change_of_a_token_is_genuine(
    kind: Kind, position: int, character: str, data: st.DataObject
) -> None:
    token = data.draw(st.sampled_from(KEYS.all)).random(kind, new_grant_id()).text
    assert KEYS.read(kind, token) is not None
    changed = data.draw(
        st.sampled_from(
            [
                token[:position] + character + token[position + 1 :],
                token[:position] + character + token[position:],
                token[:position] + token[position + 1 :],
                token[:position],
                token[position:],
                token + character,
                character + token,
                token.swapcase(),
                token[::-1],
            ]
        )
    )
    assume(changed != token)
    assert all(KEYS.read(any_kind, changed) is None for any_kind in Kind)


@pure
@given(kinds, kinds)
def test_a_token_is_of_its_kind_and_of_its_key(kind: Kind, other: Kind) -> None:
    token = KEYS.newest.random(kind, new_grant_id())
    assert (KEYS.read(other, token.text) is not None) == (kind is other)
    assert KEYS.read(kind, OTHER_KEY.random(kind, token.grant_id).text) is None
    relabelled = other.value + token.text[3:]
    assert (KEYS.read(other, relabelled) is not None) == (kind is other)


@pure
@given(st.text(max_size=80), kinds)
def test_no_text_that_was_not_issued_is_a_token(text: str, kind: Kind) -> None:
    assert KEYS.read(kind, text) is None
    assert KEYS.read(kind, f"{kind.value}_{text}") is None


parts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
contexts = st.lists(parts, max_size=5)


@pure
@given(contexts, contexts)
def test_forms_of_different_contexts_have_different_proofs(one: list[str], two: list[str]) -> None:
    proof = KEYS.newest.form_token(*one)
    assert (proof == KEYS.newest.form_token(*two)) == (one == two)
    assert KEYS.is_form_token(proof, *two) == (one == two)


@pure
@given(parts, st.integers(0, 6), st.integers(0, 6))
def test_where_one_part_ends_makes_a_difference_to_the_proof(text: str, one: int, two: int) -> None:
    assume(min(one, len(text)) != min(two, len(text)))
    first = KEYS.newest.form_token("consent", text[:one], text[one:])
    second = KEYS.newest.form_token("consent", text[:two], text[two:])
    assert first != second


@pure
@given(st.text(max_size=60), contexts)
def test_a_made_up_proof_is_none(made_up: str, context: list[str]) -> None:
    assert not KEYS.is_form_token(made_up.encode("utf-8", "replace").decode(), *context)
