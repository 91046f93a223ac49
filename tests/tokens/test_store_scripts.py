"""The scripts of the store, each by itself: repeated, raced, set back, and at the limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis import Redis

from gateway.clients.registry import RegisteredClient
from gateway.config.settings import Tokens
from gateway.grants.grants import TokenResponse
from gateway.protocol.pkce import s256_challenge
from gateway.token_store import TokenStore
from gateway.tokens.grant import CodeBinding, Grant, Issued, RefreshCandidate, Refusal, Refused
from gateway.tokens.token import Kind, Token, TokenKey, TokenKeys, new_grant_id
from tests.support.serving import until
from tests.support.stand import CLIENTS, LIFETIMES, Stand, asked, standing
from tests.support.store import grant_key, keys_of, let_pass, stored_grant


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("store")) as stand:
        yield stand


def why(answer: Issued | Refused | Grant) -> Refusal | None:
    """Return the reason of a refusal, and ``None`` for what is none."""
    return answer.why if isinstance(answer, Refused) else None


@dataclass(frozen=True)
class Held:
    """One grant in the store, worked on script by script."""

    redis: Redis
    store: TokenStore
    key: TokenKey
    code: Token
    binding: CodeBinding

    @property
    def access(self) -> Token:
        """The access token that the code gives."""
        return self.key.derived(Kind.ACCESS, self.code)

    @property
    def refresh(self) -> Token:
        """The refresh token that the code gives."""
        return self.key.derived(Kind.REFRESH, self.code)

    def redeem(self, request_id: str = "first", **changed: str) -> Issued | Refused:
        """Redeem the code with the right proof, or with one that is ``changed``."""
        proof = {
            "client_id": "one",
            "redirect_uri": self.binding.redirect_uri,
            "code_challenge": self.binding.code_challenge,
        }
        return self.store.redeem_code(
            self.code,
            **(proof | changed),
            request_id=request_id,
            access=self.access,
            refresh=self.refresh,
            next_refresh=self.key.derived(Kind.REFRESH, self.refresh),
        )

    def successor(self, token: Token) -> Token:
        """Return the refresh token that ``token`` gives."""
        return self.key.derived(Kind.REFRESH, token)

    def rotate(self, token: Token, *keys: TokenKey, scope: str = "") -> Issued | Refused:
        """Exchange a refresh token, at a gateway that has these keys."""
        return self.store.rotate_refresh(
            token,
            client_id="one",
            scope=scope,
            candidates=[
                RefreshCandidate(
                    access=key.derived(Kind.ACCESS, token, scope),
                    refresh=key.derived(Kind.REFRESH, token),
                    next_refresh=key.derived(Kind.REFRESH, key.derived(Kind.REFRESH, token)),
                )
                for key in keys or (self.key,)
            ],
        )

    def access_of(self, token: Token, scope: str = "") -> Token:
        """Return the access token that a refresh token gives."""
        return self.key.derived(Kind.ACCESS, token, scope)

    def value(self) -> str | None:
        """Return the grant as it is kept now, ``None`` if it has ended."""
        value = self.redis.get(grant_key(self.code.grant_id))
        assert value is None or isinstance(value, str)
        return None if value is None or "ended" in json.loads(value) else value

    def set_back(self, value: str | None) -> None:
        """Restore what the grant was before, as a store does that lost its last second."""
        assert value is not None
        self.redis.set(grant_key(self.code.grant_id), value, keepttl=True)

    def everything(self) -> dict[str, Any]:
        """Return all that is kept of the grant."""
        return {key: self.redis.get(key) for key in keys_of(self.redis, self.code.grant_id)}

    def let_pass(self, seconds: int) -> None:
        """Let time pass for this grant."""
        let_pass(self.redis, self.code.grant_id, seconds)


def held_grant(
    stand: Stand, lifetimes: Tokens = LIFETIMES, key: TokenKey | None = None, scope: str = "project"
) -> Held:
    store = TokenStore(stand.link, "gateway", lifetimes)
    key = key or TokenKey(b"k" * 32)
    code = key.random(Kind.CODE, new_grant_id())
    binding = CodeBinding("https://one.example/cb", True, s256_challenge("v" * 43))
    store.open_grant(Grant(code.grant_id, "one", "ann", scope, "file"), code, binding)
    return Held(stand.redis, store, key, code, binding)


@pytest.fixture
def held(stand: Stand) -> Held:
    """A grant whose code waits."""
    return held_grant(stand)


@pytest.fixture
def redeemed(held: Held) -> Held:
    """A grant that has tokens."""
    assert isinstance(held.redeem(), Issued)
    return held


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


def test_a_repeated_script_writes_what_it_wrote(stand: Stand) -> None:
    """Opening a grant and issuing a client's own token, sent twice by a retry."""
    held = held_grant(stand)
    kept = held.everything()
    held.store.open_grant(
        Grant(held.code.grant_id, "one", "ann", "project", "file"), held.code, held.binding
    )
    assert held.everything().keys() == kept.keys()
    assert stored_grant(stand.redis, held.code.grant_id)["code"] == held.code.digest
    own = Grant(new_grant_id(), "one", None, "project", "file")
    access = held.key.random(Kind.ACCESS, own.grant_id)
    for _ in range(2):
        assert held.store.issue_access(own, access).expires_in == LIFETIMES.access_seconds
        assert len(keys_of(stand.redis, own.grant_id)) == 1
    assert held.store.access_token(access) is not None


def test_revoking_twice_is_unknown_the_second_time(redeemed: Held) -> None:
    assert isinstance(redeemed.store.revoke(redeemed.refresh, "", whole_grant=True), Grant)
    assert why(redeemed.store.revoke(redeemed.refresh, "", whole_grant=True)) is Refusal.UNKNOWN
    assert why(redeemed.rotate(redeemed.refresh)) is Refusal.UNKNOWN


def test_a_store_that_was_set_back_by_one_exchange_logs_nobody_out(redeemed: Held) -> None:
    """The client was given the successor, and the store has forgotten that it was."""
    first = redeemed.refresh
    second = redeemed.successor(first)
    third = redeemed.successor(second)
    before = redeemed.value()
    assert isinstance(redeemed.rotate(first), Issued)
    redeemed.set_back(before)
    assert isinstance(redeemed.rotate(second), Issued)
    # A second tab, and one that has waited with the token before.
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
    """Neither one that was revoked nor one that has expired."""
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


def test_a_grant_stays_small_however_often_it_is_refreshed(redeemed: Held) -> None:
    """Every request reads it: nobody's own client can make that slow."""
    token = redeemed.refresh
    for _ in range(150):
        assert isinstance(redeemed.rotate(token), Issued)
        token = redeemed.successor(token)
    value = redeemed.value()
    assert value is not None
    assert len(value) < 6000
    assert redeemed.store.is_current_refresh(token) is not None


def test_a_grant_takes_less_than_a_kilobyte_of_the_stores_memory(stand: Stand) -> None:
    """With names of common length; once it was refreshed, with both its access tokens."""
    client = replace(
        CLIENTS[0],
        client_id="project-planner",
        redirect_uris=("https://planner.example.com/oauth/callback",),
    )
    gateway = stand.gateway(clients=(client,))
    registered = RegisteredClient(client, "file")
    challenge = {
        "code_challenge": s256_challenge("v" * 43),
        "code_challenge_method": "S256",
        "scope": "project profile",
    }
    code, _ = gateway.grants.authorize(asked(gateway, client, **challenge), "demo@example.com")
    key = grant_key(code.grant_id)

    def kept() -> tuple[int, list[int]]:
        """Return the grant's length, and the memory of each of its keys."""
        until(lambda: "undelivered" not in stored_grant(stand.redis, code.grant_id))
        keys = keys_of(stand.redis, code.grant_id)
        memory = [stand.redis.memory_usage(each) or 10_000 for each in keys]
        return len(str(stand.redis.get(key)).encode()), memory

    form = {"code": code.text, "redirect_uri": client.redirect_uris[0], "code_verifier": "v" * 43}
    given = gateway.grants.exchange(registered, {"grant_type": "authorization_code", **form})
    assert given.refresh_token is not None
    length, _ = kept()
    assert length <= 480
    form = {"grant_type": "refresh_token", "refresh_token": given.refresh_token}
    gateway.grants.exchange(registered, form)
    gateway.redis.close()
    length, memory = kept()
    assert length <= 560
    # With the access token that the code gave, and that of the refresh.
    assert len(stored_grant(stand.redis, code.grant_id)["access"]) == 2
    assert len(memory) == 1
    assert sum(memory) < 1024


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


def test_every_grant_is_found_while_others_come_and_go(stand: Stand) -> None:
    """Ending a user's grants misses none, whoever drops dead entries from the index meanwhile."""
    stand.redis.flushall()
    live = [held_grant(stand) for _ in range(700)]
    index = "gateway:grants-of-user:ann"
    dead = {new_grant_id(): 1_000_000_000 + number for number in range(900)}
    stand.redis.zadd(index, dead)
    found: list[str] = []
    for grant in live[0].store.grants_of_user("ann"):
        if not found:
            stand.redis.zrem(index, *dead)
        found.append(grant.grant_id)
    assert sorted(found) == sorted(each.code.grant_id for each in live)


def test_a_listed_grant_that_is_gone_is_forgotten(stand: Stand) -> None:
    stand.redis.flushall()
    held = held_grant(stand)
    stand.redis.delete(grant_key(held.code.grant_id))
    assert list(held.store.grants_of_user("ann")) == []
    assert stand.redis.zcard("gateway:grants-of-user:ann") == 0


def test_no_representation_shows_a_secret(held: Held) -> None:
    """What ends up in an exception or a debugger's log."""
    gateway_keys = TokenKeys((b"k" * 32,))
    response = TokenResponse(
        held.access.text, 1, "", held.refresh.text, Grant(held.code.grant_id, "", "", "", "file")
    )
    for each in (held.code, held.access, held.refresh, response, gateway_keys, held.key):
        for secret in (held.code.text, held.access.text, held.refresh.text, "k" * 32):
            assert secret[24:] not in repr(each)


def test_of_fifty_parallel_redemptions_at_the_store_one_succeeds(held: Held) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda number: held.redeem(str(number)), range(50)))
    assert sum(isinstance(each, Issued) for each in answers) == 1
    assert Refusal.REPLAYED in map(why, answers)
    assert held.value() is None
