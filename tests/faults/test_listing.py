"""A live grant is listed, whatever happens to its entries on their way to the indexes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway.config.settings import Store, Tokens
from gateway.store.redis_client import RedisClient
from gateway.token_store import TokenStore
from tests.faults.calls import calls_of
from tests.faults.proxy import Proxy
from tests.faults.site import LIMIT, Site, insisting, seconds_until, site, timed, tokens_of
from tests.faults.topologies import ClusterSet, Server, cluster, slot_of
from tests.support.store import grant_id, let_pass, stored_grant

_ENTRY = calls_of("list_in_index")
_REMOVAL = calls_of("drop_from_index")
_OF_USER = "gateway:grants-of-user:demo"


def listed_until(node: Server, grant: str) -> float:
    """Return until when the index of the user's grants with tokens has a grant, 0 if it has not."""
    score = node.redis.zscore(_OF_USER, grant)
    return float(score) if isinstance(score, int | float) else 0.0


def is_listed(node: Server, grant: str) -> bool:
    """Tell whether the index of the user's grants with tokens has a grant."""
    return listed_until(node, grant) > 0


def ids_of_demo(url: str) -> list[str]:
    """Return the user's grants as a gateway finds them."""
    link = RedisClient(Store(url=url, timeout=5.0))
    found = [each.grant_id for each in TokenStore(link, "gateway", Tokens()).grants_of_user("demo")]
    link.close()
    return found


def test_an_entry_that_got_lost_is_sent_until_it_arrives(
    node: Server, way: Proxy, standalone_site: Site
) -> None:
    """Until then the grant is found where its code is listed."""
    code = standalone_site.code()
    grant = grant_id(code)
    way.hold_requests(*_ENTRY)
    try:
        assert tokens_of(standalone_site.client.redeem(code))
        # The entries that were on their way get lost.
        way.cut()
        assert not is_listed(node, grant)
        assert grant in ids_of_demo(f"redis://127.0.0.1:{node.port}")
    finally:
        way.heal()
    seconds_until(partial(is_listed, node, grant))


def test_an_entry_that_a_refresh_could_not_lengthen_is_lengthened_later(
    node: Server, way: Proxy, standalone_site: Site
) -> None:
    tokens = standalone_site.tokens()
    grant = grant_id(tokens.access)
    seconds_until(partial(is_listed, node, grant))
    # A tenth of its idle time passes, for its entry as well. So the entry has to be lengthened.
    passed = Tokens().refresh_seconds // 10
    seconds_until(lambda: "undelivered" not in stored_grant(node.redis, grant))
    let_pass(node.redis, grant, passed)
    score = listed_until(node, grant)
    node.redis.zadd(_OF_USER, {grant: score - passed})
    way.lose_requests(*_ENTRY, times=1000)
    try:
        # The refresh does not wait for that.
        assert tokens_of(standalone_site.client.refresh(tokens.refresh))
        assert listed_until(node, grant) < score
    finally:
        way.heal()
    seconds_until(lambda: listed_until(node, grant) >= score)


def test_a_removal_that_got_lost_is_sent_until_it_arrives(
    node: Server, way: Proxy, standalone_site: Site
) -> None:
    tokens = standalone_site.tokens()
    grant = grant_id(tokens.access)
    seconds_until(partial(is_listed, node, grant))
    way.lose_requests(*_REMOVAL, times=1000)
    try:
        assert standalone_site.client.revoke(tokens.refresh).status_code == 200
        assert is_listed(node, grant)
    finally:
        way.heal()
    seconds_until(lambda: not is_listed(node, grant))


@pytest.fixture(scope="module")
def nodes(folder: Path) -> Iterator[ClusterSet]:
    with cluster(folder / "cluster") as nodes:
        yield nodes


def test_nobody_gets_tokens_of_a_grant_that_cannot_be_listed(
    folder: Path, nodes: ClusterSet
) -> None:
    """503 while the node that has the user's index is known to be gone; then the code is good."""
    index = nodes.owner(slot_of(_OF_USER))
    with site("standalone", folder / "unlisted", nodes.url) as found:
        there = found.tokens()
        while nodes.owner(slot_of(grant_id(there.access))) is not index:
            there = found.tokens()
        code = found.code()
        while nodes.owner(slot_of(grant_id(code))) is index:
            code = found.code()
        index.kill()
        try:
            # The gateway learns it from a request about a grant there.
            assert timed(partial(found.use, there.access)).is_unavailable
            for _ in range(3):
                answer = timed(partial(found.client.redeem, code))
                assert answer.is_unavailable
                assert answer.seconds < LIMIT
        finally:
            index.start()
        nodes.wait_until_whole()
        assert tokens_of(insisting(partial(found.client.redeem, code)))
        seconds_until(partial(is_listed, index, grant_id(code)))
