"""A client's connection to the standalone server: what it waits for, and how it closes.

Used by :mod:`gateway.server.worker`. A client can be slow to send the head of a request, to send
a body that nobody reads, and to take its response. Each of these has a time limit here, and none
of them keeps other greenlets waiting.
"""

from __future__ import annotations

import errno
import io
import socket
from time import monotonic
from types import TracebackType
from typing import Any, Protocol

import gevent
from gunicorn.http.unreader import SocketUnreader

from gateway.server.client_body import ClientBody

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


class SlowBody(TimeoutError):  # noqa: N818 - named as the field names it
    """The client sends its body too slowly, while others wait for a connection."""


class _Waiting(Protocol):
    """The connections that wait for their clients, so that somebody may have to close them."""

    idle: dict[Connection, None]
    sending: dict[Connection, float]
    receiving: dict[Connection, None]


class Connection:
    """A client's connection.

    ``idle_since``, ``closing_since`` and ``body_since`` are times of the monotonic clock. The
    second one is 0 until :meth:`start_closing`, the third one unless a request with a body is
    being answered, of which ``body_bytes`` have come. ``environ`` is that of the present request.
    ``head_sent`` says that the head of its response has been sent, ``awaits_continue`` that the
    client waits for "100 Continue" before it sends its body (RFC 9110 §10.1.1).
    """

    __slots__ = (
        "_waiting",
        "awaits_continue",
        "body_bytes",
        "body_since",
        "closing_since",
        "environ",
        "greenlet",
        "head_sent",
        "idle_since",
        "sock",
        "stream",
    )

    def __init__(self, sock: socket.socket, waiting: _Waiting) -> None:
        self.sock = sock
        self.stream = ClientStream(self)
        self.greenlet = gevent.getcurrent()
        self.idle_since = 0.0
        self.closing_since = 0.0
        self.body_since = 0.0
        self.body_bytes = 0
        self.environ: dict[str, Any] | None = None
        self.head_sent = False
        self.awaits_continue = False
        self._waiting = waiting

    def idle(self) -> _IdleTime:
        """Return the context to wait for the head of a request in; the worker may end that wait."""
        return _IdleTime(self, self._waiting)

    def begin_body(self, body: ClientBody, *, awaits_continue: bool) -> None:
        """Count the bytes of ``body`` and their time, and invite the client before the first one.

        A request that is refused unread is answered before the client sends its body
        (RFC 9110 §10.1.1).
        """
        self.body_since = monotonic()
        self.body_bytes = 0
        self.awaits_continue = awaits_continue
        if awaits_continue:
            body.before_first_read = self.send_continue

    def receive(self, size: int) -> bytes:
        """Wait for bytes of the client, ``size`` at most; b"" when the client sends no more."""
        if not self.body_since:
            return self.sock.recv(size)
        receiving = self._waiting.receiving
        receiving[self] = None
        try:
            data = self.sock.recv(size)
        finally:
            receiving.pop(self, None)
        self.body_bytes += len(data)
        return data

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
        sending = self._waiting.sending
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

    def drain(self, body: io.BufferedIOBase, raw_body: ClientBody) -> bool:
        """Read the rest of a request's body; False if the connection has to close instead.

        gunicorn would read all of it, and would let no other greenlet run while it comes fast.
        """
        if self.awaits_continue or raw_body.failed or raw_body.stalled:
            # Nobody knows whether the client sends the body, or where it ends.
            return False
        try:
            if _read_to_end(body):
                return True
        except Exception:  # noqa: BLE001 - a malformed rest closes the connection, no more
            return False
        self.linger()
        return False

    def linger(self) -> None:
        """RFC 9112 §9.6: after a sudden close, a client that still sends may lose its response."""
        # None of these bytes counts: for a crowded worker this is a slow body.
        self.body_since, self.body_bytes = monotonic(), 0
        deadline = self.body_since + LINGER_SECONDS
        self._waiting.receiving[self] = None
        try:
            self.sock.shutdown(socket.SHUT_WR)
            with gevent.Timeout(LINGER_SECONDS, ClientTimeout):
                while monotonic() < deadline and self.sock.recv(DRAIN_BYTES):
                    gevent.sleep(SHORTEST_SLEEP)
        except OSError:
            return
        finally:
            self._waiting.receiving.pop(self, None)


class _IdleTime:
    """The time between two requests; the ClientTimeout that ends it early is swallowed.

    A class, because a generator would cost each request a microsecond more.
    """

    __slots__ = ("_connection", "_waiting")

    def __init__(self, connection: Connection, waiting: _Waiting) -> None:
        self._connection = connection
        self._waiting = waiting

    def __enter__(self) -> None:
        connection = self._connection
        connection.head_sent = False
        connection.body_since = 0.0
        connection.environ = None
        connection.idle_since = monotonic()
        self._waiting.idle[connection] = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._waiting.idle.pop(self._connection, None)
        return isinstance(error, ClientTimeout)


class ClientStream(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """The bytes that a client sends, for gunicorn's parser and for the bodies.

    ``head`` has the bytes of a head that is not an ordinary one, as far as they have come.
    """

    head = b""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.sock)
        self._connection = connection

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Wait for the next bytes: ``size_hint`` at most, or a few more."""
        size = max(self.mxchunk, min(size_hint or 0, self.max_body_chunk))
        return self._connection.receive(size)


def _read_to_end(body: io.BufferedIOBase) -> bool:
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
