"""An entry in an index lives no longer than its grant, and no live grant is without its entries."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from redis import Redis

from gateway.config.settings import Tokens
from gateway.token_store import TokenStore
from gateway.tokens.grant import CodeBinding, Grant, Issued, RefreshCandidate, Refused
from gateway.tokens.token import Kind, Token, TokenKey, new_grant_id
from tests.support.serving import until
from tests.support.stand import Stand, standing
from tests.support.store import let_pass

KEY = TokenKey(b"k" * 32)
URI = "https://one.example/cb"
#: Seconds. An entry is kept a second longer than its grant, and its times are rounded up twice.
SLACK = 3.2


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("store")) as stand:
        yield stand


@pytest.fixture
def redis(stand: Stand) -> Redis:
    stand.redis.flushall()
    return stand.redis


def store_with(stand: Stand, **seconds: int) -> TokenStore:
    # Not validated: a file must have a grace of a second, and some tests are about none.
    return TokenStore(stand.link, "gateway", Tokens().model_copy(update=seconds))


def opened(store: TokenStore, user: str = "ann") -> Token:
    """Let a user allow a client; return the code."""
    code = KEY.random(Kind.CODE, new_grant_id())
    grant = Grant(code.grant_id, "one", user, "project", "file")
    store.open_grant(grant, code, CodeBinding(URI, True, ""))
    return code


def redeemed(store: TokenStore, code: Token, request_id: str = "r") -> Issued | Refused:
    refresh = KEY.derived(Kind.REFRESH, code)
    return store.redeem_code(
        code,
        client_id="one",
        redirect_uri=URI,
        code_challenge="",
        request_id=request_id,
        access=KEY.derived(Kind.ACCESS, code),
        refresh=refresh,
        next_refresh=KEY.derived(Kind.REFRESH, refresh),
    )


def rotated(store: TokenStore, refresh: Token) -> Issued | Refused:
    successor = KEY.derived(Kind.REFRESH, refresh)
    next_refresh = KEY.derived(Kind.REFRESH, successor)
    candidate = RefreshCandidate(KEY.derived(Kind.ACCESS, refresh), successor, next_refresh)
    return store.rotate_refresh(refresh, client_id="one", scope="", candidates=[candidate])


def entries(redis: Redis, kind: str) -> dict[str, list[str]]:
    """Return the indexes of a kind, ``grants`` or ``codes``, with the ids in each."""
    keys = redis.scan_iter(match=f"gateway:{kind}-of-*", count=1000)
    return {str(key): [str(each) for each in redis.zrange(key, 0, -1)] for key in keys}


def listed(redis: Redis, kind: str) -> set[str]:
    return {each for ids in entries(redis, kind).values() for each in ids}


def score(redis: Redis, grant_id: str) -> float:
    """Return when the entry of a grant ends (seconds since the epoch)."""
    found = redis.zscore("gateway:grants-of-user:ann", grant_id)
    assert isinstance(found, float)
    return found


def test_codes_that_expire_leave_nothing_in_any_index(stand: Stand, redis: Redis) -> None:
    store = store_with(stand, code_seconds=2)
    for _ in range(2500):
        opened(store)
    assert listed(redis, "codes")
    time.sleep(2 + SLACK)
    assert list(redis.scan_iter(match="gateway:*-of-*")) == []


def test_nothing_is_left_of_them_beside_a_live_grant_either(stand: Stand, redis: Redis) -> None:
    store = store_with(stand, code_seconds=2)
    code = opened(store)
    assert isinstance(redeemed(store, code), Issued)
    for _ in range(20):
        opened(store)
    time.sleep(2 + SLACK)
    assert entries(redis, "codes") == {}
    assert listed(redis, "grants") == {code.grant_id}
    assert [each.grant_id for each in store.grants_of_user("ann")] == [code.grant_id]


def test_grants_that_are_revoked_leave_nothing_in_any_index(stand: Stand, redis: Redis) -> None:
    store = store_with(stand, code_seconds=2)
    for _ in range(20):
        code = opened(store)
        assert isinstance(redeemed(store, code), Issued)
        store.revoke(KEY.derived(Kind.REFRESH, code), "one", whole_grant=True)
    until(lambda: not entries(redis, "grants"))
    time.sleep(2 + SLACK)
    assert list(redis.scan_iter(match="gateway:*-of-*")) == []


@pytest.mark.parametrize("how", ["revoked", "ended", "replayed", "reused"])
def test_an_end_takes_the_entries_of_its_grant_and_no_others(
    stand: Stand, redis: Redis, how: str
) -> None:
    store = store_with(stand)
    other, code = opened(store), opened(store)
    for each in (other, code):
        assert isinstance(redeemed(store, each), Issued)
    until(lambda: listed(redis, "grants") == {other.grant_id, code.grant_id})
    refresh = KEY.derived(Kind.REFRESH, code)
    if how == "revoked":
        store.revoke(refresh, "one", whole_grant=True)
    elif how == "ended":
        store.end_grant(code.grant_id)
    elif how == "replayed":
        until(lambda: "undelivered" not in str(redis.get(store.grant_key(code.grant_id))))
        assert isinstance(redeemed(store, code, "another"), Refused)
    else:
        assert isinstance(rotated(store, refresh), Issued)
        until(lambda: "undelivered" not in str(redis.get(store.grant_key(code.grant_id))))
        let_pass(redis, code.grant_id, 60)
        assert isinstance(rotated(store, refresh), Refused)
    until(lambda: listed(redis, "grants") == {other.grant_id})
    assert [each.grant_id for each in store.grants_of_user("ann")] == [other.grant_id]


def test_a_code_that_is_ended_takes_its_entries_with_it(stand: Stand, redis: Redis) -> None:
    store = store_with(stand)
    code = opened(store)
    assert listed(redis, "codes") == {code.grant_id}
    store.end_grant(code.grant_id)
    until(lambda: entries(redis, "codes") == {})


def test_an_end_that_was_asked_for_twice_takes_entries_that_came_late(
    stand: Stand, redis: Redis
) -> None:
    """The record of an end still says whose grant it was."""
    store = store_with(stand)
    code = opened(store)
    redeemed(store, code)
    until(lambda: listed(redis, "grants") == {code.grant_id})
    store.end_grant(code.grant_id)
    until(lambda: entries(redis, "grants") == {})
    redis.zadd("gateway:grants-of-user:ann", {code.grant_id: 9_000_000_000})
    store.end_grant(code.grant_id)
    until(lambda: entries(redis, "grants") == {})


def test_a_grant_that_is_not_used_any_more_leaves_nothing(stand: Stand, redis: Redis) -> None:
    """Its entries go with it, though nobody ended it."""
    store = store_with(stand, code_seconds=1, access_seconds=1, refresh_seconds=2)
    code = opened(store)
    assert isinstance(redeemed(store, code), Issued)
    assert isinstance(rotated(store, KEY.derived(Kind.REFRESH, code)), Issued)
    own = Grant(new_grant_id(), "one", None, "project", "file")
    store.issue_access(own, KEY.random(Kind.ACCESS, own.grant_id))
    assert listed(redis, "grants") == {code.grant_id, own.grant_id}
    time.sleep(2 + SLACK)
    assert list(redis.scan_iter(match="gateway:*-of-*")) == []


def test_a_refresh_lengthens_the_entries_when_that_is_due(stand: Stand, redis: Redis) -> None:
    """They are longer than the grant by a part of its idle time, so not at every refresh."""
    store = store_with(stand, refresh_seconds=3000, access_seconds=100)
    code = opened(store)
    redeemed(store, code)
    (now, _) = redis.time()
    until(lambda: listed(redis, "grants") == {code.grant_id})
    first = score(redis, code.grant_id)
    assert now + 3000 + 2 * 100 <= first <= now + 3000 + 2 * 100 + SLACK
    refresh = KEY.derived(Kind.REFRESH, code)
    rotated(store, refresh)
    time.sleep(0.2)
    assert score(redis, code.grant_id) == first

    # So many seconds go by, for the grant and for its entry; then it is due.
    let_pass(redis, code.grant_id, 150)
    redis.zadd("gateway:grants-of-user:ann", {code.grant_id: first - 150})
    rotated(store, KEY.derived(Kind.REFRESH, refresh))
    until(lambda: score(redis, code.grant_id) >= first)
    assert score(redis, code.grant_id) <= first + 2


def test_an_index_that_is_read_forgets_entries_without_a_grant(stand: Stand, redis: Redis) -> None:
    store = store_with(stand)
    live, gone = opened(store), opened(store)
    redis.delete(store.grant_key(gone.grant_id))
    assert [each.grant_id for each in store.grants_of_user("ann")] == [live.grant_id]
    assert redis.zrange("gateway:codes-of-user:ann", 0, -1) == [live.grant_id]


def test_an_index_expires_with_its_last_entry(stand: Stand, redis: Redis) -> None:
    store = store_with(stand, refresh_seconds=3000, access_seconds=100, grant_seconds=90000)
    codes = [opened(store) for _ in range(2)]
    redeemed(store, codes[0])
    longer = store_with(stand, refresh_seconds=30000, grant_seconds=90000)
    redeemed(longer, codes[1])
    index = "gateway:grants-of-user:ann"
    until(lambda: redis.zcard(index) == 2)
    assert redis.expiretime(index) == score(redis, codes[1].grant_id)
    longer.end_grant(codes[1].grant_id)
    until(lambda: redis.zcard(index) == 1)
    assert redis.expiretime(index) == score(redis, codes[0].grant_id)
