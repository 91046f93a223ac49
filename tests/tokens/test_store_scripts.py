"""The scripts of the store: what they write, how much, and what they list."""

from __future__ import annotations

from gateway.clients.registry import RegisteredClient
from gateway.grants.token_response import TokenResponse
from gateway.protocol.pkce import s256_challenge
from gateway.tokens.grant import Grant, Issued, Refusal
from gateway.tokens.token import Kind, TokenKeys, new_grant_id
from tests.support.serving import until
from tests.support.stand import CLIENTS, LIFETIMES, Stand, asked
from tests.support.store import grant_key, keys_of, stored_grant
from tests.tokens.held_grant import Held, held_grant, why


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


def test_a_grant_stays_small_however_often_it_is_refreshed(redeemed: Held) -> None:
    """Every request reads it, so no client can make its own requests slow."""
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
    client = CLIENTS[0].model_copy(
        update={
            "client_id": "project-planner",
            "redirect_uris": ("https://planner.example.com/oauth/callback",),
        }
    )
    gateway = stand.gateway(clients=(client,))
    registered = RegisteredClient(client, "file")
    challenge = {
        "code_challenge": s256_challenge("v" * 43),
        "code_challenge_method": "S256",
        "scope": "project profile",
    }
    request = asked(gateway, client, **challenge)
    code, *_ = gateway.authorization_server.authorize(request, "demo@example.com")
    key = grant_key(code.grant_id)

    def kept() -> tuple[int, list[int]]:
        """Return the grant's length, and the memory of each of its keys."""
        until(lambda: "undelivered" not in stored_grant(stand.redis, code.grant_id))
        keys = keys_of(stand.redis, code.grant_id)
        memory = [stand.redis.memory_usage(each) or 10_000 for each in keys]
        return len(str(stand.redis.get(key)).encode()), memory

    form = {"code": code.text, "redirect_uri": client.redirect_uris[0], "code_verifier": "v" * 43}
    exchange = gateway.authorization_server.exchange
    given = exchange(registered, {"grant_type": "authorization_code", **form})
    assert given.refresh_token is not None
    length, _ = kept()
    assert length <= 480
    form = {"grant_type": "refresh_token", "refresh_token": given.refresh_token}
    exchange(registered, form)
    gateway.redis.close()
    length, memory = kept()
    assert length <= 560
    # With the access token that the code gave, and that of the refresh.
    assert len(stored_grant(stand.redis, code.grant_id)["access"]) == 2
    assert len(memory) == 1
    assert sum(memory) < 1024


def test_every_grant_is_found_while_others_come_and_go(stand: Stand) -> None:
    """Ending a user's grants misses none, even if dead entries leave the index meanwhile."""
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
    """Exceptions and debuggers show these representations."""
    gateway_keys = TokenKeys((b"k" * 32,))
    response = TokenResponse(
        {"access_token": held.access.text, "refresh_token": held.refresh.text},
        Grant(held.code.grant_id, "", "", "", "file"),
    )
    for each in (held.code, held.access, held.refresh, response, gateway_keys, held.key):
        for secret in (held.code.text, held.access.text, held.refresh.text, "k" * 32):
            assert secret[24:] not in repr(each)
