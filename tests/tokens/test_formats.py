"""Values of another format than this version's: read, kept as they are, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from gateway.config.settings import Tokens
from gateway.store.format import FORMAT, NEWEST_READABLE
from gateway.store.format_check import UnreadableStoreError, claim_format
from gateway.store.redis_client import StoreUnavailable
from gateway.token_store import TokenStore
from gateway.tokens.grant import CodeBinding, Grant, Issued, RefreshCandidate
from gateway.tokens.token import Kind, Token, TokenKey, new_grant_id
from gateway.users.session_store import Session, SessionStore
from tests.support.stand import Stand, standing
from tests.support.store import grant_key, stored_grant

KEY = TokenKey(b"k" * 32)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("store")) as stand:
        yield stand


@pytest.fixture
def store(stand: Stand) -> TokenStore:
    return TokenStore(stand.link, "gateway", Tokens())


def code_of(store: TokenStore) -> Token:
    code = KEY.random(Kind.CODE, new_grant_id())
    grant = Grant(code.grant_id, "one", "ann", "project profile", "file")
    store.open_grant(grant, code, CodeBinding("https://one.example/cb", True, ""))
    return code


def operations(store: TokenStore, code: Token) -> dict[str, Callable[[], object]]:
    """Return every operation on the grant of a code."""
    refresh = KEY.derived(Kind.REFRESH, code)
    access = KEY.derived(Kind.ACCESS, code)
    next_refresh = KEY.derived(Kind.REFRESH, refresh)
    given = KEY.derived(Kind.ACCESS, refresh, "project")
    candidate = RefreshCandidate(given, next_refresh, KEY.derived(Kind.REFRESH, next_refresh))
    return {
        "redeem": partial(
            store.redeem_code,
            code,
            client_id="one",
            redirect_uri="https://one.example/cb",
            code_challenge="",
            request_id="r",
            access=access,
            refresh=refresh,
            next_refresh=next_refresh,
        ),
        "validate": partial(store.access_token, access),
        "rotate": partial(
            store.rotate_refresh,
            refresh,
            client_id="one",
            scope="project",
            candidates=[candidate],
        ),
        "introspect": partial(store.is_current_refresh, next_refresh),
        "revoke access": partial(store.revoke, access, "one", whole_grant=False),
        "list": lambda: list(store.grants_of_user("ann")),
        "revoke": partial(store.revoke, next_refresh, "one", whole_grant=True),
        "end": partial(store.end_grant, code.grant_id),
    }


def rewrite(stand: Stand, code: Token, **members: object) -> None:
    stored = stored_grant(stand.redis, code.grant_id) | members
    stand.redis.set(grant_key(code.grant_id), json.dumps(stored), keepttl=True)


def test_members_that_this_version_does_not_know_stay_whatever_it_writes(
    stand: Stand, store: TokenStore
) -> None:
    later = {"list": [{"a": [1]}], "time": 1795477796123, "null": None, "text": "é/\u2028"}
    code = code_of(store)
    rewrite(stand, code, later=later, format=FORMAT + 1)
    for name, operation in operations(store, code).items():
        if name == "revoke":
            break
        assert operation() is not None
        stored = stored_grant(stand.redis, code.grant_id)
        assert stored["later"] == later
        assert stored["format"] == FORMAT + 1
    assert {"narrowed", "revoked", "rotated"} <= stored.keys()


def test_a_grant_without_a_number_is_given_one(stand: Stand, store: TokenStore) -> None:
    code = code_of(store)
    rewrite(stand, code, format=0)
    assert isinstance(operations(store, code)["redeem"](), Issued)
    assert stored_grant(stand.redis, code.grant_id)["format"] == FORMAT


def test_a_grant_that_is_two_formats_ahead_is_the_stores_fault_and_stays_as_it_is(
    stand: Stand, store: TokenStore, caplog: pytest.LogCaptureFixture
) -> None:
    """503, and nothing that would make a client drop its tokens."""
    stand.redis.flushall()
    code = code_of(store)
    assert isinstance(operations(store, code)["redeem"](), Issued)
    rewrite(stand, code, format=NEWEST_READABLE + 1)
    kept = stand.redis.get(grant_key(code.grant_id))
    for operation in operations(store, code).values():
        with pytest.raises(StoreUnavailable):
            operation()
        assert stand.redis.get(grant_key(code.grant_id)) == kept
    assert "a gateway that is two formats ahead has written a grant" in caplog.text


def test_the_stores_number_is_that_of_its_newest_gateway(stand: Stand) -> None:
    key = "newest:format"
    claim_format(stand.link, "newest")
    assert stand.redis.get(key) == str(FORMAT)
    stand.redis.set(key, NEWEST_READABLE)
    claim_format(stand.link, "newest")
    assert stand.redis.get(key) == str(NEWEST_READABLE)
    stand.redis.set(key, NEWEST_READABLE + 1)
    with pytest.raises(UnreadableStoreError):
        claim_format(stand.link, "newest")
    assert stand.redis.get(key) == str(NEWEST_READABLE + 1)


def test_a_session_of_the_next_version_is_one(stand: Stand) -> None:
    sessions = SessionStore(stand.link, "gateway", 60)
    sessions.start("id", Session("ann", "proof"))
    (key,) = stand.redis.scan_iter("gateway:session:*")
    stored = json.loads(str(stand.redis.get(key)))
    assert stored["format"] == FORMAT
    stand.redis.set(key, json.dumps(stored | {"format": FORMAT + 1, "later": 1}))
    assert sessions.find("id") == Session("ann", "proof")
