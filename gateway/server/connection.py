"""A client's connection to the standalone server: what it waits for, and how it closes.

Used by :mod:`gateway.server.worker`. A client can be slow to send the head of a request, to send
a body that nobody reads, and to take its response. Each of these has a time limit here, and none
of them keeps other greenlets waiting.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from time import monotonic
from types import TracebackType
from typing import Any, Protocol

import gevent

#: To keep a connection, the server reads this much of a body that the application left unread.
DRAIN_BYTES = 65_536
#: The server reads such a body for this long.
DRAIN_SECONDS = 5.0
#: A client that goes on sending has this long to read its response before the connection closes.
LINGER_SECONDS = 2.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PIECE_BYTES = 1024
#: Not 0: gevent would come back from a sleep of 0 before it looked at any socket.
SHORTEST_SLEEP = 1e-6


class ClientTimeout(ConnectionResetError):  # noqa: N818 - named as the field names it
    """The client took too long. WSGI servers treat it as a connection that the client broke."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client took too long")


class _Worker(Protocol):
    """The worker's lists of the connections that it may have to close."""

    idle: dict[Connection, None]
    sending: dict[Connection, float]


class Connection:
    """A client's connection.

    ``idle_since`` and ``closing_since`` are times of the monotonic clock; the second one is 0
    until :meth:`start_closing`. ``head_sent`` says that the head of the present response has been
    sent, ``awaits_continue`` that the client waits for "100 Continue" before it sends its body
    (RFC 9110 §10.1.1).
    """

    __slots__ = (
        "_worker",
        "awaits_continue",
        "closing_since",
        "greenlet",
        "head_sent",
        "idle_since",
        "sock",
    )

    def __init__(self, sock: socket.socket, worker: _Worker) -> None:
        self.sock = sock
        self.greenlet = gevent.getcurrent()
        self.idle_since = 0.0
        self.closing_since = 0.0
        self.head_sent = False
        self.awaits_continue = False
        self._worker = worker

    def idle(self) -> _IdleTime:
        """Return the context to wait for the head of a request in; the worker may end that wait."""
        return _IdleTime(self, self._worker)

    def start_closing(self) -> None:
        """Close the reading side. A request that has arrived already is still read and answered."""
        self.closing_since = monotonic()
        try:
            # Reading gives what has arrived, and the end of the stream after it.
            self.sock.shutdown(socket.SHUT_RD)
        except OSError:
            return

    def send(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises OSError when the connection breaks, and ClientTimeout when the client takes nothing
        for too long.
        """
        self.head_sent = True
        sending = self._worker.sending
        rest = memoryview(data)
        try:
            while rest:
                # Before each piece: the very first one may already find the socket's buffer full.
                sending[self] = monotonic()
                rest = rest[self.sock.send(rest) :]
        finally:
            sending.pop(self, None)

    def send_continue(self) -> None:
        """Send "100 Continue" if the client waits for it (RFC 9110 §15.2.1)."""
        if self.awaits_continue:
            self.awaits_continue = False
            self.sock.sendall(_CONTINUE)

    def drain(self, body: Any) -> bool:
        """Read the rest of a request's body; False if the connection has to close instead.

        gunicorn would read all of it, and would let no other greenlet run while it comes fast.
        """
        if self.awaits_continue or body.failed:
            # Nobody knows whether the client sends the body, or where it ends.
            return False
        try:
            if _read_to_end(body):
                return True
        except Exception:  # noqa: BLE001 - a malformed rest closes the connection, no more
            return False
        self._linger()
        return False

    def _linger(self) -> None:
        """RFC 9112 §9.6: after a sudden close, a client that still sends may lose its response."""
        deadline = monotonic() + LINGER_SECONDS
        try:
            self.sock.shutdown(socket.SHUT_WR)
            with gevent.Timeout(LINGER_SECONDS, ClientTimeout):
                while monotonic() < deadline and self.sock.recv(DRAIN_BYTES):
                    gevent.sleep(SHORTEST_SLEEP)
        except OSError:
            return


class _IdleTime:
    """The time between two requests; the ClientTimeout that ends it early is swallowed.

    A class, because a generator would cost each request a microsecond more.
    """

    __slots__ = ("_connection", "_worker")

    def __init__(self, connection: Connection, worker: _Worker) -> None:
        self._connection = connection
        self._worker = worker

    def __enter__(self) -> None:
        self._connection.head_sent = False
        self._connection.idle_since = monotonic()
        self._worker.idle[self._connection] = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._worker.idle.pop(self._connection, None)
        return isinstance(error, ClientTimeout)


def _read_to_end(body: Any) -> bool:
    """Read within the limits, and return whether that was all of the body."""
    remaining, deadline = DRAIN_BYTES, monotonic() + DRAIN_SECONDS
    with gevent.Timeout(DRAIN_SECONDS, ClientTimeout):
        while remaining > 0 and monotonic() < deadline:
            data = body.read(_PIECE_BYTES)
            if not data:
                return True
            remaining -= len(data)
            gevent.sleep(SHORTEST_SLEEP)
    return False


class ContinueOnReadBody:
    """A request's body whose first read sends "100 Continue" to the client.

    A request that is refused unread is answered before the client sends its body
    (RFC 9110 §10.1.1).
    """

    def __init__(self, body: Any, connection: Connection) -> None:
        self._body = body
        self._connection = connection

    def read(self, *size: int) -> bytes:
        """Read as a file does."""
        self._connection.send_continue()
        data: bytes = self._body.read(*size)
        return data

    def readline(self, *size: int) -> bytes:
        """Read a line as a file does."""
        self._connection.send_continue()
        line: bytes = self._body.readline(*size)
        return line

    def readlines(self, *hint: int) -> list[bytes]:
        """Read lines as a file does."""
        self._connection.send_continue()
        lines: list[bytes] = self._body.readlines(*hint)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the lines."""
        self._connection.send_continue()
        return iter(self._body)
