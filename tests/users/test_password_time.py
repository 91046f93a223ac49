"""The time of a failed sign-in does not tell whether there is a user of that name."""

from __future__ import annotations

from collections import Counter

import pytest
from werkzeug.security import generate_password_hash

from gateway.users import passwords
from gateway.users.passwords import nobodys_hash, password_matches

SLOW = generate_password_hash("slow", "scrypt:65536:8:2")
FAST = generate_password_hash("fast", "scrypt:1024:8:1")
OTHER = generate_password_hash("other", "pbkdf2:sha512:1000")
IMPLICIT = "scrypt$salt$" + "0f" * 64


def method(password_hash: str) -> str:
    """What decides how long a check takes: the method and its costs."""
    return password_hash.partition("$")[0]


@pytest.mark.parametrize("configured", [SLOW, FAST, OTHER, IMPLICIT])
def test_an_unknown_name_is_hashed_as_a_known_one_is(configured: str) -> None:
    assert method(nobodys_hash("nobody", [configured])) == method(configured)


@pytest.mark.parametrize("configured", [[], [SLOW], [FAST], [OTHER], [IMPLICIT]])
@pytest.mark.parametrize("password", ["", "0", "slow", "fast", "other"])
def test_an_unknown_name_has_no_password(configured: list[str], password: str) -> None:
    assert not password_matches(nobodys_hash("nobody", configured), password)


def test_without_users_an_unknown_name_is_hashed_with_the_default_costs() -> None:
    assert method(nobodys_hash("nobody", [])) == method(passwords.hash_password("x"))


def test_where_costs_differ_unknown_names_differ_as_known_ones_do() -> None:
    """And each name always in the same way: a name whose time changes is no user's."""
    configured = [SLOW, FAST, FAST, FAST]
    names = [f"name {number}" for number in range(400)]
    chosen = [nobodys_hash(name, configured) for name in names]
    assert chosen == [nobodys_hash(name, configured) for name in names]
    count = Counter(map(method, chosen))
    assert set(count) == {method(SLOW), method(FAST)}
    assert count[method(FAST)] > 2 * count[method(SLOW)]


def test_nobody_can_compute_the_choice_without_the_hashes() -> None:
    other = generate_password_hash("another", method(SLOW))
    names = [f"name {number}" for number in range(100)]
    one, two = ([nobodys_hash(name, [each, FAST]) for name in names] for each in (SLOW, other))
    assert one != two


def test_a_name_of_half_a_character_is_a_name() -> None:
    assert method(nobodys_hash("\udc80", [FAST])) == method(FAST)
