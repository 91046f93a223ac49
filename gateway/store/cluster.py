"""A Redis Cluster: which primary has which slot, learned from the cluster itself.

The map is read at the start and after trouble, by one thread for all of them; in between,
a node that no longer has a slot says who does (MOVED, ASK). Replicas are never asked: they
may not know of a revocation yet.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError

from gateway.store.node import RedisNode

Address = tuple[str, int]


class Cluster:
    """The primaries of a cluster, by slot.

    ``seeds`` are where to ask first; ``connect`` makes the node of an address.
    """

    def __init__(
        self, seeds: Iterable[Address], connect: Callable[[str, int], RedisNode], timeout: float
    ) -> None:
        self._connect = connect
        self._timeout = timeout
        self._seeds = list(seeds)
        self._nodes: dict[Address, RedisNode] = {}
        self._slots: list[RedisNode | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._looked_at = 0.0
        self._looking = threading.Lock()

    def node_of(self, key: str, ends: float) -> RedisNode:
        """Return the primary that has ``key``.

        Raises redis-py's ClusterDownError while nobody is known to have it.
        """
        slot = key_slot(key.encode())
        node = self._slots[slot]
        if node is None:
            self.look_again(ends)
            node = self._slots[slot]
        if node is None:
            raise ClusterDownError(f"no node is known to have slot {slot}")
        return node

    def follow(self, error: AskError | MovedError, asked: RedisNode) -> RedisNode:
        """Return the node that ``asked`` named in its place."""
        # Without a host, a node means its own.
        node = self._node_at((error.host or asked.host, error.port))
        if isinstance(error, MovedError):
            self._slots[error.slot_id] = node
        return node

    def look_again(self, ends: float) -> None:
        """Read the map anew, unless somebody just did."""
        wanted_at = monotonic()
        if not self._looking.acquire(timeout=max(0.0, ends - wanted_at)):
            return
        try:
            if self._looked_at < wanted_at:
                self._look(ends)
        finally:
            self._looking.release()

    def primaries(self, ends: float) -> list[RedisNode]:
        """Return every node that has slots. Raises redis-py's ClusterDownError for none."""
        found = self._having_slots()
        if not found:
            self.look_again(ends)
            found = self._having_slots()
        if not found:
            raise ClusterDownError("no node of the cluster answers")
        return found

    def close(self) -> None:
        """Close every connection."""
        for node in list(self._nodes.values()):
            node.close()

    def _having_slots(self) -> list[RedisNode]:
        return list({id(node): node for node in self._slots if node is not None}.values())

    def _node_at(self, address: Address) -> RedisNode:
        node = self._nodes.get(address)
        if node is None:
            # Two threads at once: one of the nodes stays.
            node = self._nodes.setdefault(address, self._connect(*address))
        return node

    def _look(self, ends: float) -> None:
        known = list(self._nodes)
        random.shuffle(known)
        # Those first that did answer.
        known.sort(key=lambda address: self._nodes[address].circuit.is_open)
        for address in dict.fromkeys((*known, *self._seeds)):
            # Each gets its share of the time, so that a dead one leaves some for the next.
            share = min(ends, monotonic() + self._timeout / 4)
            try:
                (ranges,) = self._node_at(address).send([("CLUSTER", "SLOTS")], share)
            except RedisError:
                continue
            if isinstance(ranges, list) and ranges:
                self._take_over(ranges, address[0])
                break
        self._looked_at = monotonic()

    def _take_over(self, ranges: list[Any], asked_host: str) -> None:
        slots: list[RedisNode | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for first, last, primary, *_ in ranges:
            host, port = primary[0], int(primary[1])
            # Without a host, or with an unknown one, a node means its own.
            node = self._node_at((host if host and host != "?" else asked_host, port))
            slots[int(first) : int(last) + 1] = [node] * (int(last) - int(first) + 1)
        self._slots = slots
        in_use = {id(node) for node in slots}
        for address, node in list(self._nodes.items()):
            if id(node) not in in_use and address not in self._seeds:
                del self._nodes[address]
                node.close()
