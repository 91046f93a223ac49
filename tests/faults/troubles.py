"""Stores and their faults: one node, a cluster, and a primary under Sentinel.

:func:`make_trouble` lets the faults of a store happen one after the other, each as often as any
other, with peace in between. The order comes from a seed. The first fault is always the outage,
which every client meets: a run of seconds has time for few others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from random import Random

from redis.exceptions import RedisError

from tests.faults.calls import VALIDATION, calls_of
from tests.faults.history import Trouble
from tests.faults.proxy import Faults, Proxy, proxied
from tests.faults.servers import Server, wait_until
from tests.faults.topologies import (
    ClusterSet,
    SentinelSet,
    cluster,
    one_node,
    sentinel,
    slot_of,
)

#: How long a replaced primary may still answer, until the gateway asks Sentinel again (s).
_REPLACED_SECONDS = 1.5
#: More than the gateway lets one request wait for the store (s).
_OUTAGE_SECONDS = 1.2
#: How many slots a cluster moves before something else happens to it.
_SLOTS_AT_ONCE = 6


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """A fault: how it begins, how it ends, and about how long it lasts (s)."""

    name: str
    begin: Callable[[], object]
    end: Callable[[], object] = _nothing
    seconds: float = 0.6
    loses: bool = False
    at_least: float = 0.0


@dataclass
class Stand:
    """A store, its faults, and its lines in the gateway's configuration."""

    url: str
    faults: Sequence[Fault]
    #: A fault that every client meets, and that lasts longer than a request may wait.
    outage: Fault
    #: Lines for the table [store].
    store: str = ""
    replicated_revocations: bool = False
    ways: Sequence[Proxy] = field(default_factory=list)

    @property
    def met(self) -> int:
        """The number of requests and replies that met a fault of the network."""
        return sum(way.injected for way in self.ways)


def make_trouble(stand: Stand, random: Random, seconds: float, peace: float = 0.5) -> list[Trouble]:
    """Let faults happen for ``seconds``: every fault once, before one comes again."""
    ends = time.monotonic() + seconds
    happened: list[Trouble] = []
    order = [stand.outage]
    while True:
        time.sleep(peace * random.uniform(0.4, 1.6))
        if time.monotonic() >= ends:
            return happened
        if not order:
            order = random.sample(stand.faults, len(stand.faults))
        fault = order.pop()
        began = time.monotonic()
        try:
            fault.begin()
        except RedisError:
            # The server is still busy with the fault before.
            continue
        try:
            time.sleep(max(fault.at_least, fault.seconds * random.uniform(0.3, 2.0)))
        finally:
            fault.end()
        happened.append(Trouble(fault.name, began, time.monotonic(), fault.loses))


def losses_of(troubles: Sequence[Trouble]) -> tuple[tuple[float, float], ...]:
    """Return the times in which the store may have lost acknowledged changes."""
    return tuple(
        (each.began - _REPLACED_SECONDS, each.ended + _REPLACED_SECONDS)
        for each in troubles
        if each.loses
    )


def _network_faults(way: Proxy) -> list[Fault]:
    def faulty(name: str, faults: Faults) -> Fault:
        return Fault(name, lambda: setattr(way, "faults", faults), way.heal)

    note = calls_of("note_delivery")
    losing = [
        # A gateway that loses both attempts has no reply; nor has the client's next request.
        Fault(f"{many} of {name} lost", partial(lose, *what, times=count), way.heal)
        for name, what in (
            ("redeem_code", calls_of("redeem_code")),
            ("rotate_refresh", calls_of("rotate_refresh")),
            ("revoke_token", calls_of("revoke_token")),
            ("note_delivery", note),
            ("validation", (VALIDATION,)),
        )
        for many, lose, count in (
            ("a reply", way.drop_replies, 1),
            ("replies", way.drop_replies, 10_000),
            ("a request", way.lose_requests, 1),
            ("requests", way.lose_requests, 10_000),
        )
    ]
    return [
        *losing,
        Fault("note_delivery held back", partial(way.hold_requests, *note), way.heal),
        faulty("a little slow", Faults(latency=0.2)),
        faulty("too slow", Faults(latency=1.2)),
        faulty("trickling", Faults(seconds_a_byte=0.05)),
        faulty("half-open", Faults(silent=True)),
        faulty("reset", Faults(reset=True)),
        faulty("cut in mid-answer", Faults(cut_after=40)),
        Fault("connections cut once", way.cut, way.heal, 0.1),
        Fault("refusing connections", way.refuse, way.heal),
        Fault("not answering to connections", way.black_hole, way.heal),
    ]


def _outage(ways: Sequence[Proxy]) -> Fault:
    def refuse() -> None:
        for way in ways:
            way.refuse()

    def heal() -> None:
        for way in ways:
            way.heal()

    return Fault("nothing answers", refuse, heal, at_least=_OUTAGE_SECONDS)


def _crash(server: Server, *options: str) -> Fault:
    return Fault("killed", server.kill, partial(server.start, *options), 0.4)


def _pause(server: Server) -> Fault:
    return Fault("stopped", server.pause, server.resume)


def _flush(server: Server) -> Fault:
    return Fault("scripts flushed", partial(server.ask, "SCRIPT", "FLUSH"), seconds=0.1)


@contextmanager
def one_node_stand(folder: Path) -> Iterator[Stand]:
    """Run one server behind a proxy; it fsyncs every change, so a crash loses none."""
    options = ("--appendfsync", "always")
    with one_node(folder, *options) as node, proxied(node.port) as way:
        faults = [
            *_network_faults(way),
            _crash(node),
            _pause(node),
            _flush(node),
            Fault(
                "out of memory",
                partial(node.ask, "CONFIG", "SET", "maxmemory", "1mb"),
                partial(node.ask, "CONFIG", "SET", "maxmemory", "0"),
            ),
            Fault(
                "read-only",
                partial(node.ask, "REPLICAOF", "127.0.0.1", 1),
                partial(node.ask, "REPLICAOF", "NO", "ONE"),
            ),
        ]
        yield Stand(f"redis://127.0.0.1:{way.port}", faults, _outage([way]), ways=[way])


class _ProxiedCluster(ClusterSet):
    """A cluster whose nodes tell clients the proxies' ports."""

    @cached_property
    def _ids(self) -> dict[str, Server]:
        return {super(_ProxiedCluster, self).node_id(node): node for node in self.nodes}

    def node_id(self, node: Server) -> str:
        return next(name for name, each in self._ids.items() if each is node)

    def owner(self, slot: int) -> Server:
        for first, last, (_, _, owner_id, *_), *_ in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if int(first) <= slot <= int(last):
                return self._ids[owner_id]
        raise AssertionError(f"nobody has slot {slot}")

    def move_some_slots(self, random: Random) -> None:
        """Move a few slots that have grants to other nodes, as a resharding does."""
        source, target = random.sample(self.nodes, 2)
        grants = [str(key) for key in source.redis.scan_iter("*{*}", count=1000)]
        slots = {slot_of(key.partition("{")[2].partition("}")[0]) for key in grants}
        owned = [slot for slot in sorted(slots) if self.owner(slot) is source]
        for slot in random.sample(owned, min(_SLOTS_AT_ONCE, len(owned))):
            for step in (self.begin_move, self.move_keys, self.end_move):
                self._insist(partial(step, slot, target))

    def _insist(self, step: Callable[[], object]) -> None:
        """Do as a resharding does while nodes take each other for dead: wait, and go on."""

        def done() -> bool:
            with suppress(RedisError):
                step()
                return True
            return False

        wait_until(done)


@contextmanager
def cluster_stand(folder: Path) -> Iterator[Stand]:
    """Run three primaries, each behind a proxy; they fsync every change."""
    with cluster(folder) as found, ExitStack() as stack:
        ways = [stack.enter_context(proxied(node.port)) for node in found.nodes]
        nodes = _ProxiedCluster(found.nodes)
        faults: list[Fault] = []
        for node, way in zip(nodes.nodes, ways, strict=True):
            node.ask("CONFIG", "SET", "appendfsync", "always")
            node.ask("CONFIG", "SET", "cluster-announce-port", way.port)
            again = ("--cluster-announce-port", str(way.port), "--appendfsync", "always")
            faults += [*_network_faults(way), _crash(node, *again), _pause(node), _flush(node)]
        random = Random(1)
        # As often as every fault of one of the nodes.
        moving = Fault("slots moved", partial(nodes.move_some_slots, random), seconds=0.1)
        faults += [moving] * 3
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{way.port}" for way in ways)
        yield Stand(url, faults, _outage(ways), ways=ways)


@contextmanager
def sentinel_stand(folder: Path) -> Iterator[Stand]:
    """Run a primary, a replica and a Sentinel. A revocation waits for the replica."""
    with sentinel(folder) as servers:
        killed, *others = _failovers(servers)
        yield Stand(
            servers.url,
            [killed, *others],
            killed,
            store="wait_replicas = 1",
            replicated_revocations=True,
        )


def _failovers(servers: SentinelSet) -> list[Fault]:
    gone: list[Server] = []

    def take_away(how: Callable[[Server], None]) -> None:
        gone.append(servers.primary)
        how(gone[-1])

    def bring_back(how: Callable[[Server], object]) -> None:
        how(gone.pop())
        servers.wait_until_in_step()

    def bring_back_replaced(how: Callable[[Server], object]) -> None:
        servers.wait_for_failover(gone[-1])
        bring_back(how)

    def drop_connections() -> None:
        servers.primary.ask("CLIENT", "KILL", "TYPE", "normal")

    def pause_replica() -> None:
        gone.append(servers.replicas[0])
        gone[-1].pause()

    return [
        Fault(
            "primary killed",
            partial(take_away, Server.kill),
            partial(bring_back_replaced, Server.start),
            loses=True,
        ),
        Fault(
            "primary stopped",
            partial(take_away, Server.pause),
            partial(bring_back_replaced, Server.resume),
            loses=True,
        ),
        Fault("replica stopped", pause_replica, partial(bring_back, Server.resume)),
        Fault("connections cut once", drop_connections, seconds=0.1),
        Fault(
            "scripts flushed",
            lambda: servers.primary.ask("SCRIPT", "FLUSH"),
            seconds=0.1,
        ),
    ]


StandMaker = Callable[[Path], AbstractContextManager[Stand]]

STANDS: dict[str, StandMaker] = {
    "one-node": one_node_stand,
    "cluster": cluster_stand,
    "sentinel": sentinel_stand,
}
