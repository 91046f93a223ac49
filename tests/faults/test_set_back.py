"""A store that was set back, as by a failover or a power failure: what was revoked stays so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.site import Site, tokens_of
from tests.faults.topologies import Server
from tests.support.store import grant_id, grant_key


@contextmanager
def _forgotten(node: Server, token: str) -> Iterator[None]:
    """Let the store forget what happened to a token's grant in the block."""
    redis, key = node.redis, grant_key(grant_id(token))
    value, milliseconds = str(redis.get(key)), redis.pttl(key)
    yield
    assert str(redis.get(key)) != value
    redis.set(key, value, px=milliseconds)


def test_a_revoked_access_token_is_not_given_again_by_its_refresh_token(
    node: Server, standalone_site: Site
) -> None:
    site = standalone_site
    first = site.tokens()
    with _forgotten(node, first.access):
        second = tokens_of(site.client.refresh(first.refresh))
    assert site.client.revoke(second.access).status_code == 200
    again = site.client.refresh(first.refresh)
    assert tokens_of(again) == second
    assert again.json()["expires_in"] <= 3600
    assert site.use(second.access).status_code == 401
    assert site.works(tokens_of(site.client.refresh(second.refresh)).access)


def test_a_revoked_access_token_is_not_given_again_by_its_code(
    node: Server, standalone_site: Site
) -> None:
    site = standalone_site
    code = site.code()
    with _forgotten(node, code):
        first = tokens_of(site.client.redeem(code))
    assert site.client.revoke(first.access).status_code == 200
    assert tokens_of(site.client.redeem(code)) == first
    assert site.use(first.access).status_code == 401
    assert site.works(tokens_of(site.client.refresh(first.refresh)).access)
