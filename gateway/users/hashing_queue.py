"""A short queue in front of the threads that hash passwords.

Hashing is slow on purpose, so a flood of sign-ins would keep everybody else waiting. Here the
networks that clients come from take turns, only a few sign-ins of one network wait, and none waits
for long. The sign-ins that get no turn are refused without hashing, and may come again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

#: So many hashes are computed at once, in each worker.
THREADS = 2
#: So many sign-ins of one network wait. The next one takes the place of the oldest.
WAITING_PER_NETWORK = 8
#: A sign-in waits this long for its turn. Only a flood from many networks makes it wait so long.
WAIT_SECONDS = 10.0


class Busy(Exception):  # noqa: N818 - said of the queue
    """Too many passwords are being checked; this one was not."""


class _Turn:
    """One sign-in that waits. ``granted`` is decided before ``decided`` is set."""

    __slots__ = ("decided", "granted")

    def __init__(self) -> None:
        # Under gevent, this Event makes only the greenlet wait.
        self.decided = threading.Event()
        self.granted = False


class HashingQueue:
    """Lets ``threads`` sign-ins hash at once, the networks in turn, each in order of arrival."""

    def __init__(self, threads: int = THREADS, wait_seconds: float = WAIT_SECONDS) -> None:
        self._lock = threading.Lock()
        self._free = threads
        self._wait_seconds = wait_seconds
        #: The networks that have sign-ins waiting; the first one has the next turn.
        self._waiting: OrderedDict[str, deque[_Turn]] = OrderedDict()

    @contextmanager
    def turn(self, network: str) -> Iterator[None]:
        """Wait for a turn, and hash within the context. Raises Busy."""
        self._wait(network)
        try:
            yield
        finally:
            self._give_next()

    def _wait(self, network: str) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            turn = self._enter(network)
        turn.decided.wait(self._wait_seconds)
        with self._lock:
            if not turn.granted:
                self._leave(network, turn)
                raise Busy

    def _enter(self, network: str) -> _Turn:
        """Join the queue of a network; if that is full, its oldest sign-in is refused."""
        turns = self._waiting.setdefault(network, deque())
        if len(turns) >= WAITING_PER_NETWORK:
            turns.popleft().decided.set()
        turns.append(turn := _Turn())
        return turn

    def _leave(self, network: str, turn: _Turn) -> None:
        turns = self._waiting.get(network)
        if turns is not None and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[network]

    def _give_next(self) -> None:
        """Give this turn to the next network, which then waits behind all the others."""
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            network, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[network] = turns
            turn.granted = True
            turn.decided.set()
