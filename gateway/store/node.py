"""One Redis server: commands sent to it once, over a bounded number of connections.

Whether commands are sent again is decided in :mod:`gateway.store.next_step`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.store.circuit import Circuit
from gateway.store.connection_pool import ConnectionPool
from gateway.store.deadline_connection import Command, ReplyCallback, connection_maker
from gateway.store.server_clock import ServerClock

_ASKING: Command = ("ASKING",)

# How long the reply to a posted command may stay unread (s) if nothing else uses its connection.
_UNREAD_SECONDS = 0.05


class RedisNode:
    """A server, at most ``connections`` connections to it, and its circuit breaker.

    ``address`` is ``host`` and ``port``, or ``path``; ``options`` are those of a connection of
    redis-py, and ``tls``. ``timeout`` (s) bounds the wait for a connection.
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
        self._make_connection = connection_maker(address, options)
        self._timeout = timeout
        self._is_closed = False
        self._pool = ConnectionPool(connections)
        self._post_count = 0
        self._is_reading = False
        # Looked up in its module: gevent may replace it after this module was imported.
        self._reading_lock = threading.Lock()

    def send(
        self, commands: Sequence[Command], deadline: float, *, asking: bool = False
    ) -> list[Any]:
        """Send commands in one round trip; return their replies before ``deadline`` (monotonic).

        An error reply is returned in its place. ``asking`` is for a slot that is being moved to
        this node. Raises redis-py's ConnectionError and TimeoutError if there is no reply; nobody
        knows then which commands were executed. Its MaxConnectionsError means that all
        connections were in use for too long.
        """
        if asking:
            commands = [each for command in commands for each in (_ASKING, command)]
        with self._acquire_connection(deadline) as connection:
            connection.send(connection.pack_commands(commands))
            replies: list[Any] = connection.read_replies(len(commands))
        return replies[1::2] if asking else replies

    def post(self, command: Command, deadline: float, on_reply: ReplyCallback) -> None:
        """Send a command and do not wait for its reply. Raises as :meth:`send` does.

        One thread calls ``on_reply`` once, with the reply or the error that came instead. The
        reply is read before that of the next command on the same connection, or a moment later.
        """
        with self._acquire_connection(deadline) as connection:
            connection.send(connection.pack_commands([command]))
            connection.pending_callbacks.append(on_reply)
        self._start_reading()

    def drop_idle(self) -> None:
        """Close the connections that no thread is using: the server seems to be in trouble."""
        self._close_idle(reset=True)

    def close(self) -> None:
        """Close every connection; one that is in use, when it is released.

        A posted command still arrives if it can. Its callback gets an error if the reply is not
        there yet.
        """
        self._is_closed = True
        self._close_idle(reset=False)

    # --- Connections

    @contextmanager
    def _acquire_connection(self, deadline: float, acquired: Any = None) -> Iterator[Any]:
        """Lend an open connection to the block, and close it if the block fails."""
        began = monotonic()
        connection = acquired or self._take_connection(max(0.0, deadline - began))
        has_waited_long = monotonic() - began > self._timeout / 2
        succeeded = False
        try:
            connection.deadline = deadline
            if not connection.is_connected:
                connection.open()
            yield connection
            succeeded = True
        except (RedisConnectionError, RedisTimeoutError) as error:
            if has_waited_long and isinstance(error, RedisTimeoutError):
                # Most of the time went by in the queue, so this says nothing about the server.
                raise MaxConnectionsError("a connection was free too late") from error
            # The other connections are probably broken as well.
            self.drop_idle()
            raise
        finally:
            self._release_connection(connection, succeeded=succeeded)

    def _take_connection(self, seconds: float) -> Any:
        connection = self._pool.acquire(min(self._timeout, seconds))
        if connection is None:
            try:
                connection = self._make_connection()
            except BaseException:
                self._pool.release(None)
                raise
        return connection

    def _release_connection(self, connection: Any, *, succeeded: bool) -> None:
        if succeeded and not self._is_closed:
            self._pool.release(connection)
        else:
            # If the block succeeded on a closed node, a posted command may still arrive.
            _report_loss(self._close_connection(connection, reset=not succeeded))

    def _close_connection(self, connection: Any, *, reset: bool) -> list[ReplyCallback]:
        """Close a connection and release its place; return the callbacks to report the loss to."""
        try:
            connection.close(reset=reset)
        finally:
            self._pool.release(None)
        return list(connection.pending_callbacks)

    def _close_idle(self, *, reset: bool) -> None:
        callbacks: list[ReplyCallback] = []
        for connection in self._pool.acquire_all():
            callbacks += self._close_connection(connection, reset=reset)
        # Only now, because a callback may raise: every place is free again.
        _report_loss(callbacks)

    # --- Replies to posted commands

    def _start_reading(self) -> None:
        """Let one thread read the replies that no other command reads first."""
        with self._reading_lock:
            self._post_count += 1
            if self._is_reading:
                return
            self._is_reading = True
        has_started = False
        try:
            threading.Thread(target=self._read_until_quiet, daemon=True).start()
            has_started = True
        except RuntimeError:
            # The process cannot start another thread: this one has to wait for the reply.
            self._read_pending()
        finally:
            if not has_started:
                self._is_reading = False

    def _read_until_quiet(self) -> None:
        try:
            while True:
                post_count = self._post_count
                time.sleep(_UNREAD_SECONDS)
                self._read_pending()
                with self._reading_lock:
                    # A command that was posted meanwhile may not have been seen.
                    if self._post_count == post_count:
                        self._is_reading = False
                        return
        except BaseException:
            self._is_reading = False
            raise

    def _read_pending(self) -> None:
        """Read the replies to posted commands on the connections that no thread is using."""
        for connection in self._pool.idle():
            # A thread that acquired the connection meanwhile reads these replies itself.
            if not connection.pending_callbacks or not self._pool.acquire_this(connection):
                continue
            deadline = monotonic() + self._timeout
            with suppress(RedisError), self._acquire_connection(deadline, connection) as acquired:
                acquired.read_replies(0)


def _report_loss(callbacks: Sequence[ReplyCallback]) -> None:
    for on_reply in callbacks:
        on_reply(RedisConnectionError("the connection was closed"))
