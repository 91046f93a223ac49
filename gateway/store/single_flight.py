"""One refresh at a time, shared by all threads that want it at the same moment.

After trouble every thread wants to know anew which server is the primary. One of them asks; the
others wait for it and use what it learned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic


class SingleFlight:
    """Runs ``refresh`` for all threads. It gets the deadline of the thread that runs it."""

    def __init__(self, refresh: Callable[[float], None]) -> None:
        self._refresh = refresh
        self._finished_at = 0.0
        self._lock = threading.Lock()

    @property
    def age(self) -> float:
        """How long ago the last refresh finished (s)."""
        return monotonic() - self._finished_at

    def run(self, deadline: float) -> None:
        """Refresh, unless another thread finishes a refresh while this one waits for its turn.

        Returns without a refresh if the turn does not come before ``deadline`` (monotonic).
        """
        wanted_at = monotonic()
        if not self._lock.acquire(timeout=max(0.0, deadline - wanted_at)):
            return
        try:
            if self._finished_at < wanted_at:
                self._run(deadline)
        finally:
            self._lock.release()

    def run_if_free(self, deadline: float) -> None:
        """Refresh, unless another thread is refreshing: this one does not wait."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._run(deadline)
        finally:
            self._lock.release()

    def _run(self, deadline: float) -> None:
        self._refresh(deadline)
        self._finished_at = monotonic()
