"""The connections of a worker that wait for their clients, and for how long they may.

A connection that waits keeps nobody out. While all connections are in use, a client may take less
time for everything, so that the next one gets its turn (docs/budgets.md).
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from gevent.hub import get_hub

from gateway.server.connection import ClientTimeout, Connection, SlowBody

#: A client may take this long to accept the next byte of its response.
SEND_SECONDS = 60.0
#: The same while the worker is crowded.
SEND_SECONDS_WHEN_CROWDED = 5.0
#: While the worker is crowded, a connection waits this long for a request.
IDLE_SECONDS_WHEN_CROWDED = 1.0
#: While the worker is crowded, a body has to come at this rate, in bytes a second.
BODY_RATE_WHEN_CROWDED = 1000
#: So long after its beginning a body may be slower all the same.
BODY_GRACE_SECONDS = 2.0

#: A client that goes on sending keeps a closing connection open; it is cut off after this long.
_CLOSING_SECONDS = 1.0


class Waiting:
    """The connections of one worker that wait for their clients."""

    def __init__(self) -> None:
        #: Those that wait for a request, the longest-waiting first.
        self.idle: dict[Connection, None] = {}
        #: Those that wait for the client to take its response, and since when.
        self.sending: dict[Connection, float] = {}
        #: Those that wait for a body.
        self.receiving: dict[Connection, None] = {}

    def close_idle(self, seconds: float) -> None:
        """Close the connections that have waited for a request for ``seconds`` or more."""
        now = monotonic()
        for connection in list(self.idle):
            if now - connection.idle_since < seconds:
                break
            if not connection.closing_since:
                connection.start_closing()
            elif now - connection.closing_since > _CLOSING_SECONDS:
                _throw(ClientTimeout, connection, self.idle)

    def cut_off_stalled(self, seconds: float) -> None:
        """Cut off the clients that have taken nothing of their responses for ``seconds``."""
        now = monotonic()
        for connection, since in list(self.sending.items()):
            if now - since > seconds:
                _throw(ClientTimeout, connection, self.sending)

    def cut_off_slow_bodies(self) -> None:
        """Refuse the requests whose bodies are slower than BODY_RATE_WHEN_CROWDED."""
        now = monotonic()
        for connection in list(self.receiving):
            seconds = now - connection.body_since
            if (
                seconds > BODY_GRACE_SECONDS
                and connection.body_bytes < seconds * BODY_RATE_WHEN_CROWDED
            ):
                _throw(SlowBody, connection, self.receiving)

    def relieve(self) -> None:
        """Close the connections that wait for too long for a crowded worker."""
        self.close_idle(IDLE_SECONDS_WHEN_CROWDED)
        self.cut_off_stalled(SEND_SECONDS_WHEN_CROWDED)
        self.cut_off_slow_bodies()


def _throw(error: type[OSError], connection: Connection, waiting: dict[Connection, Any]) -> None:
    """Raise ``error`` in the connection's greenlet, if it is still ``waiting`` then."""

    def throw() -> None:
        if connection in waiting:
            connection.greenlet.throw(error)

    get_hub().loop.run_callback(throw)
