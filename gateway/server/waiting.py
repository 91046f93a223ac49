"""The connections of a worker that wait for their clients, and for how long they may.

A connection that waits keeps nobody out. While all connections are in use, a client may take less
time for everything, so that the next one gets its turn (docs/budgets.md).
"""

from __future__ import annotations

from time import monotonic
from typing import Any, NamedTuple

from gevent.hub import get_hub

from gateway.server.connection import ClientTimeout, Connection, SlowBody

#: A body that comes at fewer bytes a second, on average, is a slow one.
SLOW_BODY_RATE = 1000

#: A client that goes on sending keeps a closing connection open; it is cut off after this long.
_CLOSING_SECONDS = 1.0


class Patience(NamedTuple):
    """How many seconds a worker gives its clients.

    ``idle`` is for a connection that waits for a request, ``send`` for a client that takes nothing
    of its response, ``body`` for a slow body. The worker looks every ``check`` seconds.
    """

    idle: float
    send: float
    body: float
    check: float


#: While all the configured connections are in use.
CROWDED = Patience(idle=1.0, send=5.0, body=2.0, check=0.5)
#: While no more connections are accepted, so that clients wait in line.
FULL = Patience(idle=0.1, send=1.0, body=0.3, check=0.1)


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

    def cut_off_slow_bodies(self, seconds: float) -> None:
        """Refuse the requests whose slow bodies have lasted for ``seconds``."""
        now = monotonic()
        for connection in list(self.receiving):
            lasted = now - connection.body_since
            if lasted > seconds and connection.body_bytes < lasted * SLOW_BODY_RATE:
                _throw(SlowBody, connection, self.receiving)

    def end(self, patience: Patience) -> None:
        """End the connections that have waited for longer than they may."""
        self.close_idle(patience.idle)
        self.cut_off_stalled(patience.send)
        self.cut_off_slow_bodies(patience.body)


def _throw(error: type[OSError], connection: Connection, waiting: dict[Connection, Any]) -> None:
    """Raise ``error`` in the connection's greenlet, if it is still ``waiting`` then."""

    def throw() -> None:
        if connection in waiting:
            connection.greenlet.throw(error)

    get_hub().loop.run_callback(throw)
