"""A demoted primary, or a cluster in doubt: one request finds out, and goes to another server.

A client notices nothing if another server can answer. The gateway sends nothing to a server that
says that it is a replica, whichever Sentinel names it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import requests
from redis.exceptions import ClusterDownError, ReadOnlyError

from gateway.config.settings import Store
from gateway.store.redis_client import RedisClient, StoreUnavailable
from tests.faults.load import load
from tests.faults.site import LIMIT, Site, site, timed, tokens_of
from tests.faults.topologies import (
    GATEWAY_LOGIN,
    PRIMARY_NAME,
    SentinelServer,
    SentinelSet,
    cluster,
    sentinel,
    wait_until,
)

# --- Behind Sentinel


@pytest.fixture(scope="module")
def pair(folder: Path) -> Iterator[SentinelSet]:
    """A primary and a replica, watched by one Sentinel."""
    with sentinel(folder / "pair") as running:
        yield running


@pytest.fixture(scope="module")
def paired(folder: Path, pair: SentinelSet) -> Iterator[Site]:
    """A gateway on this pair."""
    with site("standalone", folder / "paired", pair.url) as running:
        yield running


def swap(pair: SentinelSet) -> None:
    """Let primary and replica change places by hand: no connection of a client is ended."""
    (watcher,) = pair.sentinels
    old, (new,) = pair.primary, pair.replicas
    watcher.ask("SENTINEL", "REMOVE", PRIMARY_NAME)
    new.ask("REPLICAOF", "NO", "ONE")
    old.ask("REPLICAOF", "127.0.0.1", new.port)
    watcher.ask("SENTINEL", "MONITOR", PRIMARY_NAME, "127.0.0.1", new.port, 1)


def has_all(pair: SentinelSet) -> bool:
    """Tell whether the replica has what the primary has."""
    (replica,) = pair.replicas
    found = replica.redis.info("replication")
    wanted = pair.primary.redis.info("replication")["master_repl_offset"]
    return bool(found["master_link_status"] == "up" and found["slave_repl_offset"] >= wanted)


def changes(site: Site) -> dict[str, Callable[[], requests.Response]]:
    """Return a change of each kind, each of a grant of its own."""
    code = site.code()
    refreshed, revoked = site.tokens(), site.tokens()
    return {
        "redeem": partial(site.client.redeem, code),
        "refresh": partial(site.client.refresh, refreshed.refresh),
        "revoke": partial(site.client.revoke, revoked.refresh),
    }


@pytest.mark.parametrize("what", ["redeem", "refresh", "revoke"])
def test_a_change_that_meets_a_demoted_primary_is_made_at_the_new_one(
    pair: SentinelSet, paired: Site, what: str
) -> None:
    """READONLY on an old connection: the gateway asks Sentinel, and the client notices nothing."""
    kept = paired.tokens()
    for _ in range(10):
        change = changes(paired)[what]
        wait_until(partial(has_all, pair))
        old = pair.primary
        refused = old.errors("READONLY")
        swap(pair)
        answer = timed(change)
        met = old.errors("READONLY") > refused
        pair.wait_until_in_step()
        assert answer.status == 200
        assert answer.seconds < LIMIT
        assert paired.works(kept.access)
        if met:
            return
    # It asks Sentinel once a second anyway, and then meets no refusal.
    raise AssertionError("the gateway never asked the demoted one")


def test_a_server_that_says_that_it_is_a_replica_is_not_taken_for_the_primary(
    folder: Path, pair: SentinelSet
) -> None:
    """The Sentinel that is asked first is out of date; the next one is right."""
    pair.wait_until_in_step()
    (replica,) = pair.replicas
    astray = SentinelServer(folder / "astray")
    astray.watch(replica.port, 1)
    try:
        astray.start()
        # It must not find out that it watches no primary.
        astray.ask("SENTINEL", "SET", PRIMARY_NAME, "down-after-milliseconds", 600_000)
        login = ":".join(GATEWAY_LOGIN)
        both = f"127.0.0.1:{astray.port},127.0.0.1:{pair.sentinels[0].port}"
        with site(
            "standalone", folder / "astray-site", f"redis+sentinel://{login}@{both}/{PRIMARY_NAME}"
        ) as running:
            before = replica.decisions()
            tokens = tokens_of(running.client.refresh(running.tokens().refresh))
            assert running.works(tokens.access)
            assert running.client.revoke(tokens.refresh).status_code == 200
            assert running.use(tokens.access).status_code == 401
            assert replica.decisions() == before
        # If no Sentinel names another server, there is no store: a replica may be behind.
        alone = f"redis+sentinel://{login}@127.0.0.1:{astray.port}/{PRIMARY_NAME}"
        link = RedisClient(Store(url=alone))
        with pytest.raises(StoreUnavailable):
            link.read_with_clock("gateway:any")
        link.close()
        assert replica.decisions() == before
        named = astray.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME)
        assert named == ["127.0.0.1", str(replica.port)]
    finally:
        astray.kill()


# --- On a cluster


def test_a_failover_of_a_cluster_that_was_asked_for_reaches_no_client(folder: Path) -> None:
    """CLUSTER FAILOVER: the old primary waits until the new one has all, and names it."""
    with cluster(folder / "cluster", primaries=3, empty=1) as nodes:
        primary, replica = nodes.nodes[2], nodes.nodes[3]
        primary.ask("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        replica.ask("CLUSTER", "REPLICATE", nodes.node_id(primary))
        wait_until(lambda: replica.redis.info("replication")["master_link_status"] == "up")
        with (
            site("standalone", folder / "cluster-site", nodes.url, timeout=5.0) as spread,
            load(spread, limit=10.0) as running,
        ):
            running.goes_on()
            assert replica.decisions() == 0
            replica.ask("CLUSTER", "FAILOVER")
            wait_until(replica.is_primary)
            wait_until(lambda: not primary.is_primary())
            before = primary.decisions()
            running.goes_on()
            # From now on it only redirects.
            assert primary.decisions() == before
            assert replica.decisions() > 0
        assert running.unavailable == 0


class _Speaker:
    """A node that has every slot, and sends the replies that a test gave it, one after the other.

    It is no store. It says what a real store cannot be made to say at a given moment.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.to_say: list[bytes] = []
        self.asked: list[list[bytes]] = []
        self.looks = 0

    def answer(self, words: list[bytes]) -> bytes:
        """Return the answer to one command."""
        if words[0] == b"CLUSTER":
            self.looks += 1
            return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % self.port
        self.asked.append(words)
        return self.to_say.pop(0)

    def speak(self, connection: socket.socket) -> None:
        """Answer on one connection until it ends."""
        with connection, connection.makefile("rb") as lines, suppress(OSError):
            while head := lines.readline():
                words = []
                for _ in range(int(head[1:])):
                    length = int(lines.readline()[1:])
                    words.append(lines.read(length + 2)[:-2])
                connection.sendall(self.answer(words))


@contextmanager
def speaking() -> Iterator[_Speaker]:
    """Run such a node until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        speaker = _Speaker(listener.getsockname()[1])

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=speaker.speak, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield speaker
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


_DOWN = b"-CLUSTERDOWN The cluster is down\r\n"
_READ_ONLY = b"-READONLY You can't write against a read only replica.\r\n"


@contextmanager
def asking(speaker: _Speaker) -> Iterator[RedisClient]:
    """Give a gateway's link to it."""
    link = RedisClient(Store(url=f"redis+cluster://127.0.0.1:{speaker.port}"))
    try:
        yield link
    finally:
        link.close()


@pytest.mark.parametrize("obstacle", [_DOWN, _READ_ONLY], ids=["CLUSTERDOWN", "READONLY"])
def test_what_is_in_the_way_for_a_moment_is_asked_again_after_a_look(obstacle: bytes) -> None:
    with speaking() as speaker, asking(speaker) as link:
        speaker.to_say = [b"$3\r\none\r\n", obstacle, b"$3\r\ntwo\r\n"]
        assert link.command("GET", "gateway:x") == "one"
        assert speaker.looks == 1
        assert link.command("GET", "gateway:x") == "two"
        assert speaker.looks == 2
        assert speaker.asked == [[b"GET", b"gateway:x"]] * 3


@pytest.mark.parametrize(
    ("obstacle", "error"),
    [(_DOWN, ClusterDownError), (_READ_ONLY, ReadOnlyError)],
    ids=["CLUSTERDOWN", "READONLY"],
)
def test_what_stays_in_the_way_is_asked_twice_and_the_client_told(
    obstacle: bytes, error: type[Exception]
) -> None:
    with speaking() as speaker, asking(speaker) as link:
        speaker.to_say = [obstacle, obstacle, b"$5\r\nnever\r\n"]
        with pytest.raises(StoreUnavailable) as refused:
            link.command("GET", "gateway:x")
        assert isinstance(refused.value.__cause__, error)
        assert len(speaker.asked) == 2


@pytest.mark.parametrize("obstacle", [_DOWN, _READ_ONLY], ids=["CLUSTERDOWN", "READONLY"])
def test_several_commands_are_asked_again_where_one_of_them_met_it(obstacle: bytes) -> None:
    with speaking() as speaker, asking(speaker) as link:
        speaker.to_say = [b"+OK\r\n", obstacle, b"$3\r\ntwo\r\n"]
        answers: Sequence[object] = link.commands(("SET", "gateway:a", 1), ("GET", "gateway:b"))
        assert answers == ["OK", "two"]
        assert [words[0] for words in speaker.asked] == [b"SET", b"GET", b"GET"]
