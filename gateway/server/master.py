"""The process above the workers: gunicorn's arbiter, which reloads without standing still.

gunicorn waits at a reload until the last old worker has ended, and until then it neither
replaces a worker that dies nor hears a signal. With an event stream open that is the whole of
``server.graceful_seconds``. Here old workers finish beside the new ones and are not counted.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn.arbiter import Arbiter

from gateway.server.worker import WORKER_SIGNALS


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """Starts, watches, replaces and ends the workers of a StandaloneGateway."""

    def __init__(self, app: Any) -> None:
        #: Old workers that finish what they have begun, by process id.
        self._finishing: dict[int, Any] = {}
        self._stopping = False
        super().__init__(app)

    def handle_hup(self) -> None:
        """Take over the configuration file again; one that cannot be used changes nothing."""
        if self.app.read_again():
            super().handle_hup()

    def spawn_worker(self) -> Any:
        """Start a worker."""
        # Until it has handlers of its own, it would hear a signal with those of the master,
        # and wait to be killed. It lets them through itself (Worker.init_signals).
        signal.pthread_sigmask(signal.SIG_BLOCK, WORKER_SIGNALS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)

    def kill_worker(self, pid: int, sig: int) -> None:
        """Send a worker a signal; one that is told to finish is no longer counted."""
        super().kill_worker(pid, sig)
        if sig == signal.SIGTERM and not self._stopping and pid in self.WORKERS:
            self._finishing[pid] = self.WORKERS.pop(pid)

    def reap_workers(self) -> None:
        """Take leave of the workers that have ended."""
        with self._all_workers():
            super().reap_workers()

    def murder_workers(self) -> None:
        """End workers that do not move any more."""
        with self._all_workers():
            super().murder_workers()

    def stop(self, graceful: bool = True) -> None:
        """End all workers, and wait for them."""
        self._stopping = True
        with self._all_workers():
            super().stop(graceful)

    @contextmanager
    def _all_workers(self) -> Iterator[None]:
        self.WORKERS.update(self._finishing)
        try:
            yield
        finally:
            self._finishing = {
                pid: self.WORKERS.pop(pid) for pid in self._finishing if pid in self.WORKERS
            }
