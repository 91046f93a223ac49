"""A connection to a Redis server, with one deadline for everything in an exchange.

redis-py applies its timeout to each read from the socket, so a reply that comes byte by byte may
take for ever. It applies the timeout to each step as well, so all steps together take longer. Here
a connection gets a deadline, and each step (connecting, TLS, authentication, sending, receiving)
gets the time that remains until this deadline.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from redis.connection import (
    Connection,
    DefaultParser,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

Command = Sequence[str | int]

#: Gets the reply to a posted command, or the error that came instead.
ReplyCallback = Callable[[Any], None]

# SO_LINGER with zero seconds: closing discards what was not sent and resets the connection (RST).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

_Parser: Any = DefaultParser


class _DeadlineParser(_Parser):  # type: ignore[misc]  # redis-py chooses its base at run time
    """A parser that stops at its connection's deadline, even while data keeps coming."""

    def on_connect(self, connection: Any) -> None:
        super().on_connect(connection)
        self._connection = connection

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        self._connection.apply_deadline()
        return super().read_from_socket(*arguments, **options)


class DeadlineConnection:
    """Adds a ``deadline`` (monotonic) to a connection of redis-py.

    ``pending_callbacks`` wait for the replies to posted commands. The server sends these replies
    before the reply to any later command.
    """

    deadline = 0.0
    _sock: Any

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.pending_callbacks: deque[ReplyCallback] = deque()

    def remaining_seconds(self) -> float:
        """Return the time until the deadline. Raises redis-py's TimeoutError if none is left."""
        remaining = self.deadline - monotonic()
        if remaining <= 0:
            raise RedisTimeoutError("the deadline has passed")
        return remaining

    def apply_deadline(self) -> None:
        """Let the next step on the socket time out at the deadline."""
        self._sock.settimeout(self.remaining_seconds())

    def open(self) -> None:
        """Connect. Raises redis-py's ConnectionError, TimeoutError and AuthenticationError.

        Connecting runs in its own thread because three parts ignore our deadline: name lookup has
        no timeout, every address gets the full one, and so does each TLS step under gevent.
        """
        this: Any = self
        this.socket_connect_timeout = this.socket_timeout = self.remaining_seconds()
        attempt = _ConnectAttempt(this)
        try:
            threading.Thread(target=attempt.connect, daemon=True).start()
        except RuntimeError:
            # The process cannot start another thread.
            attempt.connect()
        attempt.wait(self.deadline)

    def send(self, packed: Sequence[bytes]) -> None:
        """Send packed commands, as redis-py does, but joined: one system call is usually enough.

        Raises redis-py's ConnectionError and TimeoutError.
        """
        data = b"".join(packed)
        self.apply_deadline()
        try:
            count = self._sock.send(data)
            if count < len(data):
                self._sock.sendall(memoryview(data)[count:])
        except TimeoutError:
            raise RedisTimeoutError("the deadline has passed") from None
        except OSError as error:
            raise RedisConnectionError(f"sending failed: {error.strerror}") from error

    def read_replies(self, count: int) -> list[Any]:
        """Read the replies to the last ``count`` commands; before them, those to posted commands.

        An error reply is returned in its place. Raises redis-py's ConnectionError and TimeoutError.
        """
        if self.pending_callbacks:
            self._serve_callbacks()
        return [self._read_reply() for _ in range(count)]

    def _serve_callbacks(self) -> None:
        while self.pending_callbacks:
            try:
                reply = self._read_reply()
            except RedisConnectionError as error:
                # redis-py also makes this error of LOADING and the like. It is not about the
                # commands that were sent now: another connection may still execute these.
                raise RedisConnectionError("the reply to a posted command did not come") from error
            self.pending_callbacks.popleft()(reply)

    def _read_reply(self) -> Any:
        this: Any = self
        try:
            # Or redis-py would close the connection first, and without a reset.
            return this.read_response(disconnect_on_error=False)
        except ResponseError as error:
            return error

    def close(self, *, reset: bool) -> None:
        """Close the connection for good. ``reset``: nothing that was sent may arrive later.

        The callbacks whose replies did not come stay in ``pending_callbacks``.
        """
        this: Any = self
        # Read once: a thread that connects too late may be closing the same socket.
        opened = self._sock
        if reset and opened is not None:
            with suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        this.disconnect()


class _ConnectAttempt:
    """A connection that one thread opens while another waits for it, until a deadline."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._abandoned = False

    def connect(self) -> None:
        try:
            self._connection.connect()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            self._error = error
        self._ended.set()
        if self._abandoned:
            # The waiting thread closed the connection before there was a socket to close.
            self._connection.disconnect()

    def wait(self, deadline: float) -> None:
        """Raise the error of the attempt, or redis-py's TimeoutError at the deadline."""
        if not self._ended.wait(max(0.0, deadline - monotonic())):
            self._abandoned = True
            raise RedisTimeoutError("the deadline has passed")
        if self._error is not None:
            raise self._error


class _TcpConnection(DeadlineConnection, Connection):
    pass


class _TlsConnection(DeadlineConnection, SSLConnection):
    pass


class _UnixConnection(DeadlineConnection, UnixDomainSocketConnection):
    pass


def connection_maker(address: Mapping[str, Any], options: Mapping[str, Any]) -> Callable[[], Any]:
    """Return a function that makes connections to ``address``: ``host`` and ``port``, or ``path``.

    ``options`` are those of a connection of redis-py, and ``tls``.
    """
    connection_class: Any = _TcpConnection
    if "path" in address:
        connection_class = _UnixConnection
    elif options.get("tls"):
        connection_class = _TlsConnection
    settings = {
        **{name: value for name, value in options.items() if name != "tls"},
        **address,
        "parser_class": _DeadlineParser,
        "decode_responses": True,
        # RESP2 needs no greeting, and nothing here needs RESP3.
        "protocol": 2,
        # To name the library would cost two round trips for each connection.
        "driver_info": None,
    }
    return lambda: connection_class(**settings)
