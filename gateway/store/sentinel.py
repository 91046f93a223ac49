"""Behind Sentinel: which of the servers is the primary, asked of whoever watches them.

Sentinel is asked at the start, after trouble, and once in `_ASK_AGAIN_SECONDS`: a primary that
was cut off and replaced does not know it, and would go on to answer those who know it
neither. While no Sentinel answers, the primary that was known last stays the primary.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from time import monotonic

from redis.exceptions import AskError, MovedError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from gateway.store.node import RedisNode

_ASK_AGAIN_SECONDS = 1.0


class BehindSentinel:
    """The primary that the Sentinels name; never a replica.

    ``connect`` makes the node of an address. Sentinels that do not answer are passed over.
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
        self._asked_at = 0.0
        self._asking = threading.Lock()

    def node_of(self, key: str, ends: float) -> RedisNode:
        """Return the primary. Raises redis-py's ConnectionError if none was ever known."""
        return self._known(ends)

    def _known(self, ends: float) -> RedisNode:
        if self._primary is None:
            self.look_again(ends)
        elif monotonic() - self._asked_at > _ASK_AGAIN_SECONDS and self._asking.acquire(False):
            try:
                # The primary probably has not changed: not for this may a request be late.
                self._ask(min(ends, monotonic() + self._timeout / 4))
            finally:
                self._asking.release()
        if self._primary is None:
            raise RedisConnectionError("no Sentinel names a primary")
        return self._primary

    def follow(self, error: AskError | MovedError, asked: RedisNode) -> RedisNode | None:
        """Return ``None``: nothing redirects here."""
        return None

    def look_again(self, ends: float) -> None:
        """Ask which server is the primary now; somebody else's fresh answer will do."""
        wanted_at = monotonic()
        if not self._asking.acquire(timeout=max(0.0, ends - wanted_at)):
            return
        try:
            if self._asked_at < wanted_at:
                self._ask(ends)
        finally:
            self._asking.release()

    def primaries(self, ends: float) -> list[RedisNode]:
        """Return the one primary."""
        return [self._known(ends)]

    def close(self) -> None:
        """Close every connection."""
        for node in (*self._sentinels, self._primary):
            if node is not None:
                node.close()

    def _ask(self, ends: float) -> None:
        for sentinel in list(self._sentinels):
            # Each gets its share of the time, so that a dead one leaves some for the next.
            share = min(ends, monotonic() + self._timeout / 4)
            address = self._named_by(sentinel, share)
            if address is None or not self._take_over(address, share):
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)
            break
        self._asked_at = monotonic()

    def _named_by(self, sentinel: RedisNode, ends: float) -> tuple[str, int] | None:
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        try:
            (answer,) = sentinel.send([command], ends)
        except RedisError:
            return None
        # An error, or nothing: this one does not know the service.
        return (str(answer[0]), int(answer[1])) if isinstance(answer, list) else None

    def _take_over(self, address: tuple[str, int], ends: float) -> bool:
        """Make the server at ``address`` the primary, unless it says that it is none."""
        if address == self._address:
            return True
        node = self._connect(*address)
        try:
            (role,) = node.send([("ROLE",)], ends)
        except RedisError:
            # Sentinel knows better than an attempt that failed: it may be about to answer.
            role = ["master"]
        if isinstance(role, list) and role[0] != "master":
            node.close()
            return False
        before, self._primary, self._address = self._primary, node, address
        if before is not None:
            before.close()
        return True
