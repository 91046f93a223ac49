"""One Redis server: at most so many connections to it, and who waits for one.

A command is sent once; whether to send it again is known in :mod:`gateway.store.redis_client`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.store.circuit import Circuit
from gateway.store.deadline_connection import Command, Told, connection_maker
from gateway.store.server_clock import ServerClock

_ASKING: Command = ("ASKING",)

# For how long at most the answer to a posted command is left unread (s), if the connection is
# not used for anything else before.
_UNREAD_SECONDS = 0.05


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
        self.clock = ServerClock()
        self._make = connection_maker(address, options)
        self._timeout = timeout
        self._closed = False
        # A place for every connection; the ones used last come last, None is yet to be made.
        # Each step on it is one by itself, so that only who finds none free meets the lock.
        self._free: deque[Any] = deque([None] * connections)
        self._waiting: deque[_Waiting] = deque()
        self._posts = 0
        self._is_reading = False
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
        with self._connection(ends) as connection:
            connection.send(connection.pack_commands(sent))
            answers: list[Any] = connection.answers(len(sent))
        return answers[1::2] if asking else answers

    def post(self, command: Command, ends: float, told: Told) -> None:
        """Send a command and wait for nothing; raises as :meth:`send` does.

        ``told`` is called once, by any thread, with the answer or the error that came in its
        place. The answer is read with that of whatever is sent next on the same connection, or
        a moment later.
        """
        with self._connection(ends) as connection:
            connection.send(connection.pack_commands([command]))
            connection.owed.append(told)
        self._read_soon()

    @contextmanager
    def _connection(self, ends: float, taken: Any = None) -> Iterator[Any]:
        """Give a connection that is open; close it if what is done with it fails."""
        began = monotonic()
        connection = taken or self._take(ends)
        had_to_wait = monotonic() - began > self._timeout / 2
        whole = False
        try:
            connection.ends = ends
            if not connection.is_connected:
                connection.open()
            yield connection
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

    def _read_soon(self) -> None:
        with self._handing_out:
            self._posts += 1
            if self._is_reading:
                return
            self._is_reading = True
        started = False
        try:
            threading.Thread(target=self._keep_reading, daemon=True).start()
            started = True
        except RuntimeError:
            # No thread is to be had: then this one has to wait.
            self._read_owed()
        finally:
            if not started:
                self._is_reading = False

    def _keep_reading(self) -> None:
        try:
            while True:
                posts = self._posts
                time.sleep(_UNREAD_SECONDS)
                self._read_owed()
                with self._handing_out:
                    # What was posted meanwhile may not have been there to be read.
                    if self._posts == posts:
                        self._is_reading = False
                        return
        except BaseException:
            self._is_reading = False
            raise

    def _read_owed(self) -> None:
        """Read the answers to posted commands on connections that nobody is using."""
        for connection in self._free.copy():
            if connection is None or not connection.owed:
                continue
            try:
                self._free.remove(connection)
            except (ValueError, IndexError):
                # Somebody uses it now, and reads what it owes.
                continue
            with suppress(RedisError), self._connection(monotonic() + self._timeout, connection):
                connection.answers(0)

    def drop_idle(self) -> None:
        """Close the connections that nobody is using, as the server seems to be in trouble."""
        self._end_idle(reset=True)

    def _end_idle(self, *, reset: bool) -> None:
        idle = []
        with suppress(IndexError):
            while True:
                idle.append(self._free.pop())
        lost: list[Told] = []
        for connection in idle:
            if connection is None:
                self._put(None)
            else:
                lost += self._ended(connection, reset=reset)
        _tell(lost)

    def _ended(self, connection: Any, *, reset: bool) -> list[Told]:
        """Close a connection; return who has to be told, once every place is free again."""
        try:
            connection.end(reset=reset)
        finally:
            self._put(None)
        return list(connection.owed)

    def close(self) -> None:
        """Close every connection, those in use as soon as they are free.

        What was posted arrives if it can; it is told as lost where that is not known yet.
        """
        self._closed = True
        self._end_idle(reset=False)

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
            # A closed node has had its answer, and what was posted may still arrive.
            _tell(self._ended(connection, reset=not whole))

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


def _tell(lost: Sequence[Told]) -> None:
    for told in lost:
        told(RedisConnectionError("the connection was closed"))


class _Waiting:
    """Who waits for a connection, and the one that it is given; None is yet to be made."""

    __slots__ = ("connection", "served")

    def __init__(self) -> None:
        self.connection: Any = None
        self.served = threading.Event()
