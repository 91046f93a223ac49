"""Stores as they are run in earnest, on loopback: one node, Sentinel, Cluster.

Every process is the server that the embedded store uses; nothing else needs to be installed.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from gateway.embedded_store import EmbeddedStoreError, find_server
from tests.support.processes import free_port

SLOTS = 16_384
PRIMARY_NAME = "mymaster"


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until ``condition()`` is true; raise if it takes longer than that."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {seconds:g} s: {condition}")
        time.sleep(0.02)


def server_binary() -> str:
    """Return the server's path, or skip the test."""
    try:
        return find_server()
    except EmbeddedStoreError as error:
        pytest.skip(str(error))


@dataclass
class Server:
    """One server process, with a connection beside the gateway's."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str, wait: bool = True) -> Server:
        """Start it, or start it again on the same data; wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [server_binary(), *self._options(), *options]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        if wait:
            wait_until(self.answers)
        return self

    def _options(self) -> tuple[str, ...]:
        return (
            *("--port", str(self.port), "--bind", "127.0.0.1", "--protected-mode", "no"),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
            *("--enable-debug-command", "yes"),
            *self.options,
        )

    @property
    def redis(self) -> Redis:
        """A connection beside the gateway's."""
        return Redis(
            port=self.port,
            decode_responses=True,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def ask(self, *words: str | int) -> Any:
        """Send one command on a connection of its own."""
        connection = self.redis
        # Answers as the server gives them.
        connection.response_callbacks.clear()
        try:
            return connection.execute_command(*words)
        finally:
            connection.close()

    def answers(self) -> bool:
        """Tell whether it takes commands."""
        with suppress(RedisError):
            return bool(self.ask("PING") == "PONG")
        return False

    def is_loading(self) -> bool:
        """Tell whether it is still reading its data."""
        try:
            self.ask("PING")
        except BusyLoadingError:
            return True
        except RedisError:
            pass
        return False

    def pause(self) -> None:
        """Stop the process where it is: connections stay, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on, with all that was sent to it meanwhile."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash does: nothing is tidied up."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


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
            f"sentinel down-after-milliseconds {PRIMARY_NAME} 500\n"
            f"sentinel failover-timeout {PRIMARY_NAME} 2000\n"
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
        return f"redis+sentinel://{hosts}/{PRIMARY_NAME}"

    @property
    def primary(self) -> Server:
        """The server that the first Sentinel takes for the primary."""
        address = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY_NAME)
        return next(each for each in self.servers if str(each.port) == str(address[1]))

    @property
    def replicas(self) -> list[Server]:
        """The others."""
        primary = self.primary
        return [each for each in self.servers if each is not primary]

    def wait_until_in_step(self) -> None:
        """Wait until the replicas follow the primary, and Sentinel knows them."""

        def in_step() -> bool:
            replicas = self.replicas
            links = [each.redis.info("replication").get("master_link_status") for each in replicas]
            known = self.sentinels[0].ask("SENTINEL", "REPLICAS", PRIMARY_NAME)
            return links == ["up"] * len(replicas) and len(known) == len(replicas)

        wait_until(in_step)


@contextmanager
def sentinel(folder: Path, *, replicas: int = 1, sentinels: int = 1) -> Iterator[SentinelSet]:
    """Run a primary with replicas and Sentinels until the block ends."""
    at_once = ("--repl-diskless-sync-delay", "0")
    primary = Server(folder / "server-0", at_once)
    following = (*at_once, "--replicaof", f"127.0.0.1 {primary.port}")
    servers = [primary] + [
        Server(folder / f"server-{number}", following) for number in range(1, replicas + 1)
    ]
    watching = [SentinelServer(folder / f"sentinel-{number}") for number in range(sentinels)]
    try:
        for each in servers:
            each.start()
        wait_until(lambda: primary.redis.info("replication")["connected_slaves"] == replicas)
        for watcher in watching:
            watcher.watch(primary.port, sentinels // 2 + 1)
            watcher.start()
            # Its usual pace is made for networks, and would only make the tests wait.
            watcher.ask(
                *("SENTINEL", "DEBUG", "INFO-PERIOD", 300, "PING-PERIOD", 100),
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
        for first, last, (_, port, *_), *_ in self.nodes[0].ask("CLUSTER", "SLOTS"):
            if int(first) <= slot <= int(last):
                return next(each for each in self.nodes if each.port == int(port))
        raise AssertionError(f"nobody has slot {slot}")

    def move_slot(self, slot: int, target: Server, *, pause: float = 0.0) -> None:
        """Move a slot with its keys, as ``redis-cli --cluster reshard`` does."""
        source = self.owner(slot)
        source_id, target_id = self.node_id(source), self.node_id(target)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        time.sleep(pause)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *self.nodes):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)


@contextmanager
def cluster(folder: Path, *, primaries: int = 3, empty: int = 0) -> Iterator[ClusterSet]:
    """Run a cluster until the block ends; ``empty`` nodes of it have no slots."""
    nodes = [
        Server(
            folder / f"node-{number}",
            (
                *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
                *("--cluster-node-timeout", "1000"),
                # Or one dead primary would stop them all.
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
