"""One Redis server: connections to it, and a time at which every exchange with it has ended.

A time limit of redis-py holds for each read from a socket, so an answer that trickles in may
take for ever; and it holds for each of the steps, so their sum is longer. Here an exchange is
given the time when it ends, and everything in it (waiting for a connection, connecting, TLS,
authentication, sending, receiving) has what is left until then.

A command is sent once; whether to send it again is known in :mod:`gateway.redis_link`.
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
from redis.exceptions import MaxConnectionsError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.circuit import Circuit

Command = Sequence[str | int]

# What close() does with data that was not sent: forget it, and tell the server (RST).
_FORGET = struct.pack("ii", 1, 0)

_ASKING: Command = ("ASKING",)

_Parser: Any = DefaultParser


class _PunctualParser(_Parser):  # type: ignore[misc]  # redis-py chooses its base at run time
    """A parser that gives up when its connection's time is over, however often data comes."""

    def on_connect(self, connection: Any) -> None:
        super().on_connect(connection)
        self._connection = connection

    def read_from_socket(self, *arguments: Any, **options: Any) -> Any:
        self._connection.set_time_left()
        return super().read_from_socket(*arguments, **options)


class _Punctual:
    """What a connection of redis-py becomes with a time at which all of it has ended."""

    ends = 0.0
    _sock: Any

    def seconds_left(self) -> float:
        left = self.ends - monotonic()
        if left <= 0:
            raise RedisTimeoutError("the time is over")
        return left

    def set_time_left(self) -> None:
        self._sock.settimeout(self.seconds_left())

    def open(self) -> None:
        this: Any = self
        # The handshake of TLS has the second one.
        this.socket_connect_timeout = this.socket_timeout = self.seconds_left()
        this.connect()

    def send(self, packed: Sequence[bytes]) -> None:
        """Send commands, as redis-py does, but in one piece and seldom in more than one step."""
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

    def abandon(self) -> None:
        """Close the connection so that nothing of what was sent arrives later."""
        this: Any = self
        if self._sock is not None:
            with suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FORGET)
        this.disconnect()


class _TcpConnection(_Punctual, Connection):
    pass


class _TlsConnection(_Punctual, SSLConnection):
    pass


class _UnixConnection(_Punctual, UnixDomainSocketConnection):
    pass


def _connection_maker(address: Mapping[str, Any], options: Mapping[str, Any]) -> Callable[[], Any]:
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


class RedisNode:
    """A server, at most ``connections`` connections to it, and the circuit before it.

    ``address`` is ``host`` and ``port``, or ``path``; ``options`` are those of a connection of
    redis-py, and ``tls``.
    """

    def __init__(
        self,
        address: Mapping[str, Any],
        options: Mapping[str, Any],
        *,
        connections: int,
        timeout: float,
    ) -> None:
        self.host: str = address.get("host", "")
        self.name = str(address.get("path", "")) or f"{self.host}:{address.get('port')}"
        self.circuit = Circuit(timeout)
        self._make = _connection_maker(address, options)
        self._timeout = timeout
        self._closed = False
        # A place for every connection; the ones used last come last, None is yet to be made.
        # Each step on it is one by itself, so that only who finds none free meets the lock.
        self._free: deque[Any] = deque([None] * connections)
        self._waiting: deque[_Waiting] = deque()
        # By its module, since gevent may replace it after this one was imported.
        self._handing_out = threading.Lock()

    def send(self, commands: Sequence[Command], ends: float, *, asking: bool = False) -> list[Any]:
        """Send commands in one round trip and return their answers, at ``ends`` (monotonic).

        An error that Redis answers is returned in the place of the answer. ``asking`` is for a
        slot that is on its way to this node. Raises redis-py's ConnectionError and
        TimeoutError when there is no answer; then it is not known what was executed. Its
        MaxConnectionsError says that all connections were in use for too long.
        """
        sent = [each for command in commands for each in (_ASKING, command)] if asking else commands
        began = monotonic()
        connection = self._take(ends)
        had_to_wait = monotonic() - began > self._timeout / 2
        whole = False
        try:
            connection.ends = ends
            if not connection.is_connected:
                connection.open()
            connection.send(connection.pack_commands(sent))
            answers = [_answer(connection) for _ in sent]
            whole = True
        except (RedisConnectionError, RedisTimeoutError) as error:
            if had_to_wait and isinstance(error, RedisTimeoutError):
                # Most of its time went by in the queue, which says nothing about the server.
                raise MaxConnectionsError("a connection was free too late") from error
            # What happened to this one has probably happened to those that nobody uses now.
            self.drop_idle()
            raise
        finally:
            self._give_back(connection, whole=whole)
        return answers[1::2] if asking else answers

    def drop_idle(self) -> None:
        """Close the connections that nobody is using."""
        kept = 0
        with suppress(IndexError):
            while True:
                connection = self._free.pop()
                if connection is not None:
                    connection.abandon()
                kept += 1
        for _ in range(kept):
            self._put(None)

    def close(self) -> None:
        """Close every connection, those in use as soon as they are free."""
        self._closed = True
        self.drop_idle()

    def _take(self, ends: float) -> Any:
        connection = self._free_one(max(0.0, min(self._timeout, ends - monotonic())))
        if connection is None:
            try:
                connection = self._make()
            except BaseException:
                self._put(None)
                raise
        return connection

    def _free_one(self, seconds: float) -> Any:
        # Nobody is overtaken: who waits would otherwise find every place taken, again and
        # again, by those that came later, until its time is over.
        if not self._waiting:
            with suppress(IndexError):
                return self._free.pop()
        waiting = _Waiting()
        with self._handing_out:
            self._waiting.append(waiting)
        self._hand_out()
        try:
            served = waiting.served.wait(seconds)
        except BaseException:
            # Whoever ends this thread's work must not take a connection along.
            if not self._leave(waiting):
                self._put(waiting.connection)
            raise
        if not served and self._leave(waiting):
            raise MaxConnectionsError("every connection is in use")
        return waiting.connection

    def _leave(self, waiting: _Waiting) -> bool:
        """Wait no longer; False where the connection came in that very moment."""
        with self._handing_out:
            if waiting.served.is_set():
                return False
            self._waiting.remove(waiting)
            return True

    def _give_back(self, connection: Any, *, whole: bool) -> None:
        if whole and not self._closed:
            self._put(connection)
        else:
            connection.abandon()
            self._put(None)

    def _put(self, connection: Any) -> None:
        self._free.append(connection)
        # Looked at after it is there, as who waits is there before it looks.
        if self._waiting:
            self._hand_out()

    def _hand_out(self) -> None:
        with self._handing_out, suppress(IndexError):
            while self._waiting:
                connection = self._free.pop()
                waiting = self._waiting.popleft()
                waiting.connection = connection
                waiting.served.set()


class _Waiting:
    """Who waits for a connection, and the one that it is given; None is yet to be made."""

    __slots__ = ("connection", "served")

    def __init__(self) -> None:
        self.connection: Any = None
        self.served = threading.Event()


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error
