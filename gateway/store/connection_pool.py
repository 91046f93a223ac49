"""A bounded pool of connections, with a fair queue of the threads that wait for one."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import Any

from redis.exceptions import MaxConnectionsError


class ConnectionPool:
    """At most ``size`` connections. ``None`` is the place of a connection that is not open.

    The connection that was used last is used next, so that the others may stay unopened.
    """

    def __init__(self, size: int) -> None:
        # Each operation on a deque is atomic, so only a thread that finds it empty takes the lock.
        self._free: deque[Any] = deque([None] * size)
        self._waiters: deque[_Waiter] = deque()
        # Looked up in its module: gevent may replace it after this module was imported.
        self._lock = threading.Lock()

    def acquire(self, seconds: float) -> Any:
        """Return a connection, or ``None`` for a place; wait in the queue if all are in use.

        Raises redis-py's MaxConnectionsError if the wait takes longer than ``seconds``.
        """
        # If threads skipped the queue, a waiting thread could come too late again and again.
        if not self._waiters:
            with suppress(IndexError):
                return self._free.pop()
        return self._wait(seconds)

    def release(self, connection: Any) -> None:
        """Put back a connection, or ``None`` for its place."""
        self._free.append(connection)
        # In this order, because a waiter enters the queue before it looks for a connection.
        if self._waiters:
            self._serve_waiters()

    def idle(self) -> list[Any]:
        """Return the open connections that no thread is using."""
        return [each for each in self._free.copy() if each is not None]

    def acquire_this(self, connection: Any) -> bool:
        """Take one of :meth:`idle`; return False if another thread uses it now."""
        try:
            self._free.remove(connection)
        except (ValueError, IndexError):
            return False
        return True

    def acquire_all(self) -> list[Any]:
        """Take every open connection that no thread is using; leave the places of the others."""
        taken = []
        with suppress(IndexError):
            while True:
                taken.append(self._free.pop())
        for connection in taken:
            if connection is None:
                self.release(None)
        return [each for each in taken if each is not None]

    def _wait(self, seconds: float) -> Any:
        waiter = _Waiter()
        with self._lock:
            self._waiters.append(waiter)
        self._serve_waiters()
        try:
            is_served = waiter.served.wait(seconds)
        except BaseException:
            # The thread ends here (gevent kills a greenlet so). Its connection must not be lost.
            if not self._leave(waiter):
                self.release(waiter.connection)
            raise
        if not is_served and self._leave(waiter):
            raise MaxConnectionsError("every connection is in use")
        return waiter.connection

    def _leave(self, waiter: _Waiter) -> bool:
        """Leave the queue; return False if the waiter was served in that very moment."""
        with self._lock:
            if waiter.served.is_set():
                return False
            self._waiters.remove(waiter)
            return True

    def _serve_waiters(self) -> None:
        with self._lock, suppress(IndexError):
            while self._waiters:
                connection = self._free.pop()
                waiter = self._waiters.popleft()
                waiter.connection = connection
                waiter.served.set()


class _Waiter:
    """A thread in the queue, and the connection or place that it gets."""

    __slots__ = ("connection", "served")

    def __init__(self) -> None:
        self.connection: Any = None
        self.served = threading.Event()
