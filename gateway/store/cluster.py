"""A Redis Cluster: which primary has which slot, by the cluster's own map.

One thread reads the map for all, at the first command and after trouble. In between, a node that
lost a slot names the new node (MOVED, ASK). Replicas are never asked: a replica may not know of a
revocation yet.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError

from gateway.store.node import RedisNode
from gateway.store.single_flight import SingleFlight

Address = tuple[str, int]


class Cluster:
    """The primaries of a cluster, by slot.

    ``seeds`` are the addresses to ask first; ``connect`` makes the node of an address.
    """

    def __init__(
        self, seeds: Iterable[Address], connect: Callable[[str, int], RedisNode], timeout: float
    ) -> None:
        self._connect = connect
        self._timeout = timeout
        self._seeds = list(seeds)
        self._nodes: dict[Address, RedisNode] = {}
        self._slots: list[RedisNode | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._map_reader = SingleFlight(self._read_map)

    def node_of(self, key: str, deadline: float) -> RedisNode:
        """Return the primary that has ``key``.

        Raises redis-py's ClusterDownError while no primary is known to have it.
        """
        slot = key_slot(key.encode())
        node = self._slots[slot]
        if node is None:
            self.refresh(deadline)
            node = self._slots[slot]
        if node is None:
            raise ClusterDownError(f"no node is known to have slot {slot}")
        return node

    def follow(self, redirect: AskError, asked: RedisNode) -> RedisNode:
        """Return the node that ``asked`` named in its place; remember it for MOVED."""
        # A node that names no host means its own host.
        node = self._node_at((redirect.host or asked.host, redirect.port))
        if isinstance(redirect, MovedError):
            self._slots[redirect.slot_id] = node
        return node

    def refresh(self, deadline: float) -> None:
        """Read the map anew, unless another thread just did."""
        self._map_reader.run(deadline)

    def primaries(self, deadline: float) -> list[RedisNode]:
        """Return every node that has slots. Raises redis-py's ClusterDownError for none."""
        primaries = self._nodes_with_slots()
        if not primaries:
            self.refresh(deadline)
            primaries = self._nodes_with_slots()
        if not primaries:
            raise ClusterDownError("no node of the cluster replies")
        return primaries

    def close(self) -> None:
        """Close every connection."""
        for node in list(self._nodes.values()):
            node.close()

    def _nodes_with_slots(self) -> list[RedisNode]:
        return list({id(node): node for node in self._slots if node is not None}.values())

    def _node_at(self, address: Address) -> RedisNode:
        node = self._nodes.get(address)
        if node is None:
            # If two threads are here at once, both get the node of the first.
            node = self._nodes.setdefault(address, self._connect(*address))
        return node

    def _read_map(self, deadline: float) -> None:
        for address in self._addresses_to_ask():
            # Each node gets a share of the time, so that a dead one leaves some for the next.
            share = min(deadline, monotonic() + self._timeout / 4)
            try:
                (ranges,) = self._node_at(address).send([("CLUSTER", "SLOTS")], share)
            except RedisError:
                continue
            if isinstance(ranges, list) and ranges:
                self._use_map(ranges, address[0])
                return

    def _addresses_to_ask(self) -> Iterator[Address]:
        """Yield the known nodes in random order, the replying ones first; then the seeds."""
        known = list(self._nodes)
        random.shuffle(known)
        known.sort(key=lambda address: self._nodes[address].circuit.is_open)
        yield from dict.fromkeys((*known, *self._seeds))

    def _use_map(self, ranges: list[Any], asked_host: str) -> None:
        slots: list[RedisNode | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, (host, port, *_), *_ in ranges:
            # A node that names no host, or an unknown one, means its own host.
            node = self._node_at((host if host and host != "?" else asked_host, int(port)))
            slots[int(first) : int(last) + 1] = [node] * (int(last) - int(first) + 1)
        self._slots = slots
        self._close_unused()

    def _close_unused(self) -> None:
        in_use = {id(node) for node in self._slots}
        for address, node in list(self._nodes.items()):
            if id(node) not in in_use and address not in self._seeds:
                del self._nodes[address]
                node.close()
