"""A connection to a Redis server, with a time at which every exchange on it has ended.

A time limit of redis-py holds for each read from a socket, so an answer that trickles in may
take for ever; and it holds for each of the steps, so their sum is longer. Here a connection is
given the time when an exchange ends, and everything in it (connecting, TLS, authentication,
sending, receiving) has what is left until then.
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

#: Who gets the answer to a posted command, or the error in its place.
Told = Callable[[Any], None]

# What close() does with data that was not sent: forget it, and tell the server (RST).
_FORGET = struct.pack("ii", 1, 0)

_Parser: Any = DefaultParser


class _PunctualParser(_Parser):  # type: ignore[misc]  # redis-py chooses its base at run time
    """A parser that gives up when its connection's time is over, however often data comes."""

    def on_connect(self, connection: Any) -> None:
        super().on_connect(connection)
        self._connection = connection

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        self._connection.set_time_left()
        return super().read_from_socket(*arguments, **options)


class Punctual:
    """What a connection of redis-py becomes with a time at which all of it has ended.

    ``ends`` is that time (monotonic). ``owed`` is who gets the answers to commands that were
    posted: they come before the answer to anything that is sent now.
    """

    ends = 0.0
    _sock: Any

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.owed: deque[Told] = deque()

    def seconds_left(self) -> float:
        """Return how much time is left (s). Raises redis-py's TimeoutError if none is."""
        left = self.ends - monotonic()
        if left <= 0:
            raise RedisTimeoutError("the time is over")
        return left

    def set_time_left(self) -> None:
        """Let the next step on the socket take no longer than there is time."""
        self._sock.settimeout(self.seconds_left())

    def open(self) -> None:
        """Connect. Raises redis-py's ConnectionError, TimeoutError and AuthenticationError.

        In a thread of its own, since not every part of it can be told when to end: to find the
        addresses of a name takes no limit, each address of it has the whole, and each step of
        TLS under gevent.
        """
        this: Any = self
        this.socket_connect_timeout = this.socket_timeout = self.seconds_left()
        opening = _Opening(this)
        try:
            threading.Thread(target=opening.connect, daemon=True).start()
        except RuntimeError:
            # No thread is to be had.
            opening.connect()
        opening.wait_until(self.ends)

    def send(self, packed: Sequence[bytes]) -> None:
        """Send packed commands as redis-py does, but in one piece and seldom in two steps.

        Raises redis-py's ConnectionError and TimeoutError.
        """
        data = b"".join(packed)
        self.set_time_left()
        try:
            count = self._sock.send(data)
            if count < len(data):
                self._sock.sendall(memoryview(data)[count:])
        except TimeoutError:
            raise RedisTimeoutError("the time is over") from None
        except OSError as error:
            raise RedisConnectionError(f"sending failed: {error.strerror}") from error

    def answers(self, count: int) -> list[Any]:
        """Read the answers to the ``count`` commands sent last, and before them what is owed.

        An error that Redis answers is returned in the place of the answer. Raises redis-py's
        ConnectionError and TimeoutError.
        """
        while self.owed:
            try:
                answer = self._answer()
            except RedisConnectionError as error:
                # Of LOADING and the like redis-py makes this too. It is not about what is asked
                # now, which may be asked again on another connection.
                raise RedisConnectionError("an answer owed before did not come") from error
            self.owed.popleft()(answer)
        return [self._answer() for _ in range(count)]

    def _answer(self) -> Any:
        this: Any = self
        try:
            return this.read_response()
        except ResponseError as error:
            return error

    def end(self, *, reset: bool) -> None:
        """Close the connection; with ``reset`` so that nothing that was sent arrives later.

        What it owes stays in ``owed``; it is not opened again.
        """
        this: Any = self
        # Taken once: a thread that opens the connection too late may be closing it as well.
        opened = self._sock
        if reset and opened is not None:
            with suppress(OSError):
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FORGET)
        this.disconnect()


class _Opening:
    """A connection that is being opened, and who waits for it, for a while."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._is_over = threading.Event()
        self._error: BaseException | None = None
        self._given_up = False

    def connect(self) -> None:
        try:
            self._connection.connect()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error
        self._is_over.set()
        if self._given_up:
            # Whoever gave it up may have closed it before there was anything to close.
            self._connection.disconnect()

    def wait_until(self, ends: float) -> None:
        if not self._is_over.wait(max(0.0, ends - monotonic())):
            self._given_up = True
            raise RedisTimeoutError("the time is over")
        if self._error is not None:
            raise self._error


class _TcpConnection(Punctual, Connection):
    pass


class _TlsConnection(Punctual, SSLConnection):
    pass


class _UnixConnection(Punctual, UnixDomainSocketConnection):
    pass


def connection_maker(address: Mapping[str, Any], options: Mapping[str, Any]) -> Callable[[], Any]:
    """Return how to make connections to ``address``: ``host`` and ``port``, or ``path``."""
    connection_class: Any = _TcpConnection
    if "path" in address:
        connection_class = _UnixConnection
    elif options.get("tls"):
        connection_class = _TlsConnection
    settings = {
        **{name: value for name, value in options.items() if name != "tls"},
        **address,
        "parser_class": _PunctualParser,
        "decode_responses": True,
        # RESP2 needs no greeting; nothing here asks for more. Nor does a connection introduce
        # the library, which would be two more round trips.
        "protocol": 2,
        "driver_info": None,
    }
    return lambda: connection_class(**settings)
