"""A client's connection to the standalone server: what it waits for, and how it ends.

Used by :mod:`gateway.server.worker`. Whatever a client may drag out (the head of a request, a body
that nobody wants, its answer) has a time here, and none of it keeps other greenlets waiting.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from time import monotonic
from types import TracebackType
from typing import Any, Protocol

import gevent

#: So much of a body that nobody wanted is read, for so long, to keep the connection.
UNWANTED_BYTES = 65_536
UNWANTED_SECONDS = 5.0
#: So long a client that goes on sending may take to see its answer.
LINGER_SECONDS = 2.0

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PIECE_BYTES = 1024
#: Not 0, from which gevent would come back before it looked at any socket.
SHORTEST_SLEEP = 1e-6


class GivenUpError(ConnectionResetError):
    """The client took too long. Servers take this error for what it is."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client took too long")


class _Watch(Protocol):
    """Who looks after connections: the worker."""

    waiting: dict[Connection, None]
    sending: dict[Connection, float]


class Connection:
    """A client's connection: for how long it has waited for a request, or to send.

    ``begun`` tells that the head of the present answer is out; ``uninvited`` that the client
    waits to be told to send its body (RFC 9110 §10.1.1).
    """

    __slots__ = ("_watch", "begun", "greenlet", "hung_up", "since", "sock", "uninvited")

    def __init__(self, sock: socket.socket, watch: _Watch) -> None:
        self.sock = sock
        self.greenlet = gevent.getcurrent()
        self.since = 0.0
        self.hung_up = 0.0
        self.begun = False
        self.uninvited = False
        self._watch = watch

    def __enter__(self) -> None:
        """Wait for the head of a request."""
        self.begun = False
        self.since = monotonic()
        self._watch.waiting[self] = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """End waiting; a wait that was cut short ends without a request."""
        self._watch.waiting.pop(self, None)
        return isinstance(error, GivenUpError)

    def hang_up(self) -> None:
        """End it, unless a request has come that has not been read yet."""
        self.hung_up = monotonic()
        try:
            # Reading then gives what is there, and the end after it.
            self.sock.shutdown(socket.SHUT_RD)
        except OSError:
            return

    def send(self, data: bytes) -> None:
        """Send all of it; raises OSError, also when the client takes none of it for too long."""
        self.begun = True
        sending = self._watch.sending
        rest = memoryview(data)
        try:
            while rest:
                # Before each piece: the very first one may already find no room.
                sending[self] = monotonic()
                rest = rest[self.sock.send(rest) :]
        finally:
            sending.pop(self, None)

    def invite(self) -> None:
        """Tell a client that waits for it to send its body."""
        if self.uninvited:
            self.uninvited = False
            self.sock.sendall(_CONTINUE)

    def is_rid_of(self, body: Any) -> bool:
        """Read what nobody wanted of a body; False where it is so much that the connection ends.

        gunicorn would read all of it, and give way to nobody while it comes fast.
        """
        if self.uninvited or body.failed:
            # Whether and where it goes on, nobody knows.
            return False
        left, until = UNWANTED_BYTES, monotonic() + UNWANTED_SECONDS
        try:
            with gevent.Timeout(UNWANTED_SECONDS, GivenUpError):
                while left > 0 and monotonic() < until:
                    data = body.read(_PIECE_BYTES)
                    if not data:
                        return True
                    left -= len(data)
                    gevent.sleep(SHORTEST_SLEEP)
        except Exception:  # noqa: BLE001 - what is malformed about it is of no interest any more
            return False
        self._linger()
        return False

    def _linger(self) -> None:
        """RFC 9112 §9.6: closed at once, the answer might be lost to a client that still sends."""
        until = monotonic() + LINGER_SECONDS
        try:
            self.sock.shutdown(socket.SHUT_WR)
            with gevent.Timeout(LINGER_SECONDS, GivenUpError):
                while monotonic() < until and self.sock.recv(UNWANTED_BYTES):
                    gevent.sleep(SHORTEST_SLEEP)
        except OSError:
            return


class InvitedBody:
    """A request's body whose client is told to send it when somebody reads, and not before.

    A refusal is then answered without the body (RFC 9110 §10.1.1).
    """

    def __init__(self, body: Any, connection: Connection) -> None:
        self._body = body
        self._connection = connection

    def read(self, *size: int) -> bytes:
        """Read as a file does."""
        self._connection.invite()
        data: bytes = self._body.read(*size)
        return data

    def readline(self, *size: int) -> bytes:
        """Read a line as a file does."""
        self._connection.invite()
        line: bytes = self._body.readline(*size)
        return line

    def readlines(self, *hint: int) -> list[bytes]:
        """Read lines as a file does."""
        self._connection.invite()
        lines: list[bytes] = self._body.readlines(*hint)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        """Go through the lines."""
        self._connection.invite()
        return iter(self._body)
