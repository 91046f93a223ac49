"""With ``wait_replicas``, a repeated revocation waits until a replica has it, too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.faults.servers import Server, wait_until
from tests.faults.site import LIMIT, Site, insisting, site, timed
from tests.faults.topologies import one_node


@pytest.fixture(scope="module")
def replica(folder: Path, node: Server) -> Iterator[Server]:
    """A replica of the one server."""
    node.ask("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    with one_node(folder / "replica", "--replicaof", f"127.0.0.1 {node.port}") as server:
        wait_until(lambda: server.redis.info("replication")["master_link_status"] == "up")
        yield server


@pytest.fixture(scope="module")
def careful(folder: Path, node: Server, replica: Server) -> Iterator[list[Site]]:
    """Two gateways, each with its own connections, that wait for a replica."""
    url = f"redis://127.0.0.1:{node.port}"
    with ExitStack() as stack:
        yield [
            stack.enter_context(site("standalone", folder / name, url, store="wait_replicas = 1"))
            for name in ("one", "other")
        ]


def let_replicas_confirm(node: Server) -> None:
    """Wait until a replica has confirmed every change so far."""
    with node.redis.pipeline(transaction=False) as pipeline:
        pipeline.set("beside", 1)
        pipeline.wait(1, 5000)
        assert pipeline.execute() == [True, 1]


def test_a_repeated_revocation_waits_for_a_replica_that_hangs(
    node: Server, replica: Server, careful: list[Site]
) -> None:
    """It finds nothing left to take back, and still is not acknowledged before a replica has it."""
    one, other = careful
    tokens = one.tokens()
    revocations = [partial(each.client.revoke, tokens.refresh) for each in (one, other)]
    # Otherwise WAIT would also wait for earlier changes of the other gateway's connection.
    let_replicas_confirm(node)
    replica.pause()
    try:
        for revoke in (*revocations, *revocations):
            refused = timed(revoke)
            assert refused.is_unavailable
            assert refused.seconds < LIMIT
            # The revocation holds on the primary; it is only not promised yet.
            assert other.use(tokens.access).status_code == 401
    finally:
        replica.resume()
    for revoke in reversed(revocations):
        assert insisting(revoke).status_code == 200
