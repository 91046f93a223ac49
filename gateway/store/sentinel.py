"""Behind Sentinel: which server is the primary, by the Sentinels that watch the servers.

The Sentinels are asked at the first command, after trouble, and once in
`_REFRESH_SECONDS`. A primary that was cut off and replaced does not know that it was
replaced, and it still replies to gateways that were cut off with it. While no Sentinel replies,
the last known primary stays the primary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from redis.exceptions import AskError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.store.node import RedisNode
from gateway.store.single_flight import SingleFlight

_REFRESH_SECONDS = 1.0


class BehindSentinel:
    """The primary that the Sentinels name; never a replica.

    ``connect`` makes the node of an address. A Sentinel that does not reply is passed over.
    """

    def __init__(
        self,
        sentinels: Sequence[RedisNode],
        service: str,
        connect: Callable[[str, int], RedisNode],
        timeout: float,
    ) -> None:
        self._sentinels = list(sentinels)
        self._service = service
        self._connect = connect
        self._timeout = timeout
        self._primary: RedisNode | None = None
        self._address = ("", 0)
        self._primary_finder = SingleFlight(self._find_primary)

    def node_of(self, key: str, deadline: float) -> RedisNode:
        """Return the primary. Raises redis-py's ConnectionError if none was ever known."""
        if self._primary is None:
            self.refresh(deadline)
        elif self._primary_finder.age > _REFRESH_SECONDS:
            # The primary probably has not changed: no request may be late for this.
            self._primary_finder.run_if_free(min(deadline, monotonic() + self._timeout / 4))
        if self._primary is None:
            raise RedisConnectionError("no Sentinel names a primary")
        return self._primary

    def follow(self, redirect: AskError, asked: RedisNode) -> RedisNode:
        """Raise ``redirect``: a node of a cluster cannot be behind Sentinel."""
        raise redirect

    def refresh(self, deadline: float) -> None:
        """Ask anew which server is the primary, unless another thread just did."""
        self._primary_finder.run(deadline)

    def primaries(self, deadline: float) -> list[RedisNode]:
        """Return the one primary. Raises as :meth:`node_of`."""
        return [self.node_of("", deadline)]

    def close(self) -> None:
        """Close every connection."""
        for node in (*self._sentinels, self._primary):
            if node is not None:
                node.close()

    def _find_primary(self, deadline: float) -> None:
        for sentinel in list(self._sentinels):
            # Each Sentinel gets a share of the time, so that a dead one leaves some for the next.
            share = min(deadline, monotonic() + self._timeout / 4)
            address = self._ask_sentinel(sentinel, share)
            if address is not None and self._use_primary(address, share):
                # The next refresh asks first the Sentinel that replied.
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
                return

    def _ask_sentinel(self, sentinel: RedisNode, deadline: float) -> tuple[str, int] | None:
        """Return the address of the primary, or ``None`` if the Sentinel knows no such service."""
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        try:
            (reply,) = sentinel.send([command], deadline)
        except RedisError:
            return None
        return (str(reply[0]), int(reply[1])) if isinstance(reply, list) else None

    def _use_primary(self, address: tuple[str, int], deadline: float) -> bool:
        """Make the server at ``address`` the primary; return False if it says that it is none."""
        if address == self._address:
            return True
        node = self._connect(*address)
        if not self._may_be_primary(node, deadline):
            node.close()
            return False
        before, self._primary, self._address = self._primary, node, address
        if before is not None:
            before.close()
        return True

    def _may_be_primary(self, node: RedisNode, deadline: float) -> bool:
        try:
            (role,) = node.send([("ROLE",)], deadline)
        except RedisError:
            # The server may be about to reply: Sentinel knows better than one failed attempt.
            return True
        return not isinstance(role, list) or role[0] == "master"
