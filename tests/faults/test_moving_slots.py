"""A slot on its way from one node of a cluster to another, one key after the other.

The slot may be open for as long as it takes to move all of its keys. Every request of a client is
answered at once meanwhile, within the usual time limits, whichever node has its grant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from gateway.config.settings import Store, Tokens
from gateway.store.redis_client import RedisClient
from gateway.token_store import TokenStore
from gateway.tokens.grant import Grant, Issued
from gateway.tokens.token import Kind, TokenKeys, new_grant_id
from tests.faults.servers import Server, wait_until
from tests.faults.site import Site, at_once, insisting, site, timed, tokens_of
from tests.faults.topologies import ClusterSet, cluster, slot_of
from tests.support.store import grant_id, grant_key


@pytest.fixture(scope="module")
def nodes(folder: Path) -> Iterator[ClusterSet]:
    with cluster(folder / "cluster") as nodes:
        yield nodes


@pytest.fixture(scope="module")
def moving(folder: Path, nodes: ClusterSet) -> Iterator[Site]:
    """A gateway on the cluster, with the time limits that it has by default."""
    with site("standalone", folder / "moving", nodes.url) as running:
        yield running


#: Whether the grant has been moved already, while its slot is still open.
WAYS = pytest.mark.parametrize("moved", [False, True], ids=["not yet", "already"])


@contextmanager
def half_moved(nodes: ClusterSet, grant: str, *, moved: bool) -> Iterator[None]:
    """Open the slot of a grant, move the grant if ``moved``, and the rest when the block ends."""
    # Not to a replica.
    nodes = ClusterSet(nodes.nodes[:3])
    slot = slot_of(grant)
    source = nodes.owner(slot)
    target = nodes.nodes[(nodes.nodes.index(source) + 1) % 3]
    nodes.begin_move(slot, target)
    if moved:
        nodes.move_keys(slot, target, grant_key(grant))
    try:
        yield
    finally:
        nodes.move_keys(slot, target)
        nodes.end_move(slot, target)


@WAYS
def test_a_grant_whose_slot_is_being_moved_lives_as_always(
    nodes: ClusterSet, moving: Site, *, moved: bool
) -> None:
    client = moving.client
    first = moving.tokens()
    with half_moved(nodes, grant_id(first.access), moved=moved):
        assert moving.works(first.access)
        second = tokens_of(client.refresh(first.refresh))
        assert moving.works(second.access)
        assert tokens_of(client.refresh(first.refresh)) == second
        third = tokens_of(client.refresh(second.refresh))
        assert client.revoke(third.access).status_code == 200
        assert moving.use(third.access).status_code == 401
        # The refresh token gives the revoked access token again, and that stays revoked.
        assert tokens_of(client.refresh(second.refresh)) == third
        assert moving.use(third.access).status_code == 401
        assert moving.works(first.access)
    assert moving.works(first.access)
    assert moving.works(second.access)
    assert moving.use(third.access).status_code == 401
    assert moving.works(tokens_of(client.refresh(third.refresh)).access)


@WAYS
def test_a_grant_ends_while_its_slot_is_being_moved(
    nodes: ClusterSet, moving: Site, *, moved: bool
) -> None:
    tokens = moving.tokens()
    with half_moved(nodes, grant_id(tokens.access), moved=moved):
        assert moving.client.revoke(tokens.refresh).status_code == 200
        assert moving.use(tokens.access).status_code == 401
        assert moving.client.refresh(tokens.refresh).json()["error"] == "invalid_grant"
    assert moving.use(tokens.access).status_code == 401


@WAYS
def test_a_code_is_redeemed_once_while_its_slot_is_being_moved(
    nodes: ClusterSet, moving: Site, *, moved: bool
) -> None:
    code = moving.code()
    with half_moved(nodes, grant_id(code), moved=moved):
        tokens = tokens_of(moving.client.redeem(code))
        assert moving.works(tokens.access)
        assert moving.works(tokens_of(moving.client.refresh(tokens.refresh)).access)
        assert moving.client.redeem(code).json()["error"] == "invalid_grant"
        assert moving.use(tokens.access).status_code == 401
    assert moving.use(tokens.access).status_code == 401


def test_a_code_is_redeemed_by_one_of_many_at_once_while_its_slot_is_being_moved(
    nodes: ClusterSet, moving: Site
) -> None:
    code = moving.code()
    with half_moved(nodes, grant_id(code), moved=False):
        answers = at_once([partial(moving.client.redeem, code)] * 10)
    assert sum(each.status == 200 for each in answers) == 1
    assert {each.status for each in answers} <= {200, 400, 503}


def test_a_clients_own_token_is_given_while_its_slot_is_being_moved(
    nodes: ClusterSet,
) -> None:
    """Its grant gets its id when it is made; here the slot of that id is open already."""
    link = RedisClient(Store(url=nodes.url))
    store = TokenStore(link, "gateway", Tokens())
    grant = Grant(new_grant_id(), "service", None, "project", "file")
    access = TokenKeys((b"k" * 32,)).newest.random(Kind.ACCESS, grant.grant_id)
    with half_moved(nodes, grant.grant_id, moved=False):
        link.start_request_budget()
        assert isinstance(store.issue_access(grant, access), Issued)
        found = store.access_token(access)
        assert found is not None
        assert found.client_id == "service"
    assert store.access_token(access) == found
    link.close()


# --- With replicas that must have a revocation


@pytest.fixture(scope="module")
def followed(folder: Path) -> Iterator[ClusterSet]:
    """A cluster in which a replica follows each of the primaries."""
    with cluster(folder / "followed", empty=3) as nodes:
        for primary, replica in zip(nodes.nodes[:3], nodes.nodes[3:], strict=True):
            replica.ask("CLUSTER", "REPLICATE", nodes.node_id(primary))
            wait_until(partial(_follows, replica))
        yield nodes


def _follows(replica: Server) -> bool:
    return bool(replica.redis.info("replication").get("master_link_status") == "up")


@pytest.fixture(scope="module")
def careful(folder: Path, followed: ClusterSet) -> Iterator[Site]:
    """A gateway that acknowledges a revocation when a replica has it."""
    store = "wait_replicas = 1"
    with site("standalone", folder / "careful", followed.url, store=store) as running:
        yield running


@WAYS
@pytest.mark.parametrize("which", ["access", "refresh"])
def test_a_revocation_waits_for_a_replica_of_the_node_that_it_changed(
    followed: ClusterSet, careful: Site, which: str, *, moved: bool
) -> None:
    tokens = careful.tokens()
    grant = grant_id(tokens.access)
    source = followed.owner(slot_of(grant))
    number = followed.nodes.index(source)
    with half_moved(followed, grant, moved=moved):
        replica = followed.nodes[3 + ((number + 1) % 3 if moved else number)]
        replica.pause()
        try:
            # Also when it is repeated, by the client or by the gateway, and finds no grant.
            for _ in range(2):
                revoke = partial(careful.client.revoke, getattr(tokens, which))
                assert timed(revoke).is_unavailable
        finally:
            replica.resume()
        assert careful.use(tokens.access).status_code == 401
    assert careful.use(tokens.access).status_code == 401
    assert insisting(revoke).status_code == 200


@WAYS
@pytest.mark.parametrize("which", ["access", "refresh"])
def test_a_revocation_that_replicas_have_is_acknowledged_and_told_as_one(
    followed: ClusterSet, careful: Site, which: str, *, moved: bool
) -> None:
    tokens = careful.tokens()
    with half_moved(followed, grant_id(tokens.access), moved=moved):
        assert careful.client.revoke(getattr(tokens, which)).status_code == 200
        line = json.loads(careful.gateway.audit.read_text().splitlines()[-1])
        assert (line["event"], line["outcome"]) == ("revoke", "allowed")
        assert careful.use(tokens.access).status_code == 401
    assert careful.use(tokens.access).status_code == 401
