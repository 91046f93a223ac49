"""Stores as in production, on loopback: one node, Sentinel, Cluster.

Every process is the server that the embedded store uses; nothing else needs to be installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from redis.crc import key_slot
from redis.exceptions import RedisError

from tests.faults.servers import Server, wait_until
from tests.support.processes import free_port

__all__ = [
    "ClusterSet",
    "SentinelSet",
    "Server",
    "cluster",
    "one_node",
    "sentinel",
    "slot_of",
    "wait_until",
]

SLOTS = 16_384
PRIMARY_NAME = "mymaster"
GATEWAY_LOGIN = ("gateway", "of-the-gateway")


@contextmanager
def one_node(folder: Path, *options: str) -> Iterator[Server]:
    """Run one server until the block ends."""
    server = Server(folder, options)
    try:
        yield server.start()
    finally:
        server.kill()


class SentinelServer(Server):
    """A Sentinel: the same program, which keeps its state in its configuration file."""

    def _options(self) -> tuple[str, ...]:
        return (str(self.folder / "sentinel.conf"), "--sentinel")

    def watch(self, primary_port: int, quorum: int) -> None:
        """Write its first configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\nprotected-mode no\n"
            f"sentinel monitor {PRIMARY_NAME} 127.0.0.1 {primary_port} {quorum}\n"
            f"sentinel down-after-milliseconds {PRIMARY_NAME} 700\n"
            f"sentinel failover-timeout {PRIMARY_NAME} 1500\n"
        )


@dataclass
class SentinelSet:
    """A primary, its replicas, and the Sentinels that watch them."""

    servers: list[Server]
    sentinels: list[SentinelServer]

    @property
    def url(self) -> str:
        """The store's URL for the configuration."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{':'.join(GATEWAY_LOGIN)}@{hosts}/{PRIMARY_NAME}"

    @property
    def primary(self) -> Server:
        """The server that the first Sentinel takes for the primary."""
        address = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME)
        return next(each for each in self.servers if str(each.port) == str(address[1]))

    @property
    def replicas(self) -> list[Server]:
        """Every server but the primary."""
        primary = self.primary
        return [each for each in self.servers if each is not primary]

    def wait_until_in_step(self) -> None:
        """Wait until the replicas follow the primary, and every Sentinel knows them all."""

        def in_step() -> bool:
            with suppress(RedisError):
                primary, replicas = self.primary, self.replicas
                expected = ["slave", "127.0.0.1", primary.port, "connected"]
                if any(each.ask("ROLE")[:4] != expected for each in replicas):
                    return False
                return all(self._knows_all(each, primary) for each in self.sentinels)
            return False

        wait_until(in_step)

    def _knows_all(self, watcher: SentinelServer, primary: Server) -> bool:
        (known,) = watcher.ask("SENTINEL", "MASTERS")
        seen = dict(zip(known[::2], known[1::2], strict=True))
        found = [
            dict(zip(each[::2], each[1::2], strict=True))
            for each in watcher.ask("SENTINEL", "REPLICAS", PRIMARY_NAME)
        ]
        return (
            (seen["port"], seen["flags"]) == (str(primary.port), "master")
            and seen["num-other-sentinels"] == str(len(self.sentinels) - 1)
            and [(each["flags"], each["master-link-status"]) for each in found]
            == [("slave", "ok")] * (len(self.servers) - 1)
        )

    def hold_changes(self) -> None:
        """Let the primary make no change any more, and wait until replicas have those it made.

        A primary that is killed between its answer and its message to the replicas loses the
        change; this is for what does not want to see that.
        """
        primary = self.primary
        primary.ask("CLIENT", "PAUSE", 10_000, "WRITE")
        offset = primary.redis.info("replication")["master_repl_offset"]
        wait_until(
            lambda: all(
                each.redis.info("replication")["slave_repl_offset"] >= offset
                for each in self.replicas
            )
        )

    def cut_off(self, server: Server) -> None:
        """Cut a primary off from its replicas and the Sentinels, but not from the gateways."""
        server.ask("ACL", "SETUSER", "default", "off")
        server.ask("CLIENT", "KILL", "USER", "default")

    def wait_for_failover(self, before: Server) -> Server:
        """Wait until another server is the primary, and says so itself; return it."""
        wait_until(lambda: self.primary is not before and self.primary.is_primary())
        return self.primary

    def restore(self) -> None:
        """Start the killed servers again, end every trouble, and wait until all is as at first."""
        for server in self.servers:
            if server.process is None:
                server.start()
            wait_until(partial(self._is_healed, server))
        self.wait_until_in_step()

    @staticmethod
    def _is_healed(server: Server) -> bool:
        # A Sentinel that makes it a replica closes every connection, this one as well.
        with suppress(RedisError):
            server.ask("ACL", "SETUSER", "default", "on")
            server.ask("CLIENT", "UNPAUSE")
            return True
        return False


@contextmanager
def sentinel(folder: Path, *, replicas: int = 1, sentinels: int = 1) -> Iterator[SentinelSet]:
    """Run a primary with replicas and Sentinels until the block ends."""
    user, password = GATEWAY_LOGIN
    # Sentinels and replicas come as the default user.
    for_all = (
        *("--repl-diskless-sync-delay", "0"),
        *("--user", user, "on", f">{password}", "~*", "&*", "+@all"),
    )
    primary = Server(folder / "server-0", for_all, login=GATEWAY_LOGIN)
    next_refresh = (*for_all, "--replicaof", f"127.0.0.1 {primary.port}")
    servers = [primary] + [
        Server(folder / f"server-{number}", next_refresh, login=GATEWAY_LOGIN)
        for number in range(1, replicas + 1)
    ]
    watching = [SentinelServer(folder / f"sentinel-{number}") for number in range(sentinels)]
    try:
        for each in servers:
            each.start()
        wait_until(lambda: primary.redis.info("replication")["connected_slaves"] == replicas)
        for watcher in watching:
            watcher.watch(primary.port, sentinels // 2 + 1)
            watcher.start()
            # Its usual pace is made for networks, and would only make the tests wait. But while a
            # primary is down, a replica is asked once a second how it is, and may be promoted
            # for five pings after that: less than 200 ms each, and often there is none.
            watcher.ask(
                *("SENTINEL", "DEBUG", "INFO-PERIOD", 300, "PING-PERIOD", 300),
                *("ASK-PERIOD", 100, "PUBLISH-PERIOD", 200),
            )
        found = SentinelSet(servers, watching)
        found.wait_until_in_step()
        yield found
    finally:
        for server in [*watching, *servers]:
            server.kill()


@dataclass
class ClusterSet:
    """Primaries that share the slots, and possibly nodes that have none yet."""

    nodes: list[Server]

    @property
    def url(self) -> str:
        """The store's URL for the configuration."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[1].port}"

    def node_id(self, node: Server) -> str:
        """Return the name that the nodes have for ``node``."""
        return str(node.ask("CLUSTER", "MYID"))

    def owner(self, slot: int) -> Server:
        """Return the node that has ``slot``."""
        port = self._owner_seen_by(self.nodes[0], slot)
        return next(each for each in self.nodes if each.port == port)

    def wait_until_whole(self) -> None:
        """Wait until no node takes another one for dead any more."""

        def whole() -> bool:
            return all(
                "cluster_state:ok" in node.ask("CLUSTER", "INFO")
                and not any(
                    "fail" in line.split()[2] for line in node.ask("CLUSTER", "NODES").splitlines()
                )
                for node in self.nodes
            )

        wait_until(whole)

    def begin_move(self, slot: int, target: Server) -> None:
        """Open a slot for its move: for a key that has moved already, its node answers ASK."""
        source = self.owner(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.node_id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self.node_id(target))

    def move_keys(self, slot: int, target: Server, *keys: str) -> None:
        """Move these keys of an open slot, or all of them."""
        source = self.owner(slot)
        while moving := keys or source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *moving)
            if keys:
                break

    def end_move(self, slot: int, target: Server) -> None:
        """Give an open slot to the node that has its keys."""
        source = self.owner(slot)
        for node in (target, source, *self.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", self.node_id(target))

    def move_slot(self, slot: int, target: Server) -> None:
        """Move a slot with its keys, as ``redis-cli --cluster reshard`` does."""
        self.begin_move(slot, target)
        self.move_keys(slot, target)
        self.end_move(slot, target)

    def move_slots(self, source: Server, target: Server) -> None:
        """Move all slots of a node in one step, as Valkey 9 can."""
        (owned,) = [
            (first, last)
            for first, last, (_, port, *_), *_ in source.ask("CLUSTER", "SLOTS")
            if int(port) == source.port
        ]
        source.ask(*("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *owned, "NODE", self.node_id(target)))
        for node in self.nodes:
            wait_until(partial(self._sees_owner, node, int(owned[0]), target.port))

    def _sees_owner(self, node: Server, slot: int, port: int) -> bool:
        return self._owner_seen_by(node, slot) == port

    @staticmethod
    def _owner_seen_by(node: Server, slot: int) -> int:
        for first, last, (_, port, *_), *_ in node.ask("CLUSTER", "SLOTS"):
            if int(first) <= slot <= int(last):
                return int(port)
        return 0


@contextmanager
def cluster(folder: Path, *, primaries: int = 3, empty: int = 0) -> Iterator[ClusterSet]:
    """Run a cluster until the block ends; ``empty`` nodes of it have no slots."""
    nodes = [
        Server(
            folder / f"node-{number}",
            (
                *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                *("--cluster-node-timeout", "1000"),
                # Otherwise a node that gives its only slot away becomes a replica.
                *("--cluster-allow-replica-migration", "no"),
                # Otherwise one dead primary stops them all.
                *("--cluster-require-full-coverage", "no"),
            ),
        )
        for number in range(primaries + empty)
    ]
    try:
        for number, node in enumerate(nodes):
            node.start()
            if number < primaries:
                first, after = SLOTS * number // primaries, SLOTS * (number + 1) // primaries
                node.ask("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            bus_port = int(node.options[node.options.index("--cluster-port") + 1])
            nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus_port)

        def agreed() -> bool:
            return all(
                len(node.ask("CLUSTER", "SLOTS")) == primaries
                and node.ask("CLUSTER", "NODES").count(" connected") == len(nodes)
                and "cluster_state:ok" in node.ask("CLUSTER", "INFO")
                for node in nodes
            )

        wait_until(agreed)
        yield ClusterSet(nodes)
    finally:
        for node in nodes:
            node.kill()


def slot_of(grant_id: str) -> int:
    """Return the slot of every key of a grant."""
    return key_slot(grant_id.encode())
