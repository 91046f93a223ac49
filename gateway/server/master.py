"""The process above the workers: gunicorn's arbiter, with a reload that does not block it.

At a reload, gunicorn's arbiter waits until the last old worker has exited. Until then it replaces
no worker that dies, and handles no signal. While an event stream is open, that takes all of
``server.graceful_seconds``. Here the old workers finish beside the new ones and are not counted.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gunicorn.arbiter import Arbiter
from gunicorn.sock import close_sockets

from gateway.server.listener import CannotListen
from gateway.server.worker import WORKER_SIGNALS


class Master(Arbiter):  # type: ignore[misc]  # gunicorn has no types
    """Starts, watches, replaces and stops the workers of a StandaloneGateway."""

    def __init__(self, app: Any) -> None:
        #: Old workers that still answer their requests in flight, by process id.
        self._old_workers: dict[int, Any] = {}
        self._stopping = False
        super().__init__(app)

    def handle_hup(self) -> None:
        """Reload the configuration file; a file with faults changes nothing."""
        if self.app.reload_settings():
            super().handle_hup()
            try:
                self.app.share_socket()
            except CannotListen as error:
                self.log.error("%s", error)  # noqa: TRY400 - it says all that a traceback would

    def start(self) -> None:
        """Open the listening sockets. Raises CannotListen."""
        super().start()
        try:
            self.app.share_socket()
        except CannotListen:
            close_sockets(self.LISTENERS)
            raise

    def spawn_worker(self) -> Any:
        """Start a worker."""
        # Until the worker has installed its own handlers, the master's would take its signals, and
        # it would not exit. It unblocks the signals itself (Worker.init_signals).
        signal.pthread_sigmask(signal.SIG_BLOCK, WORKER_SIGNALS)
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)

    def kill_worker(self, pid: int, sig: int) -> None:
        """Send a worker a signal; a worker that is told to finish is no longer counted."""
        super().kill_worker(pid, sig)
        if sig == signal.SIGTERM and not self._stopping and pid in self.WORKERS:
            self._old_workers[pid] = self.WORKERS.pop(pid)

    def reap_workers(self) -> None:
        """Collect the exit status of the workers that have exited."""
        with self._including_old_workers():
            super().reap_workers()

    def murder_workers(self) -> None:
        """Kill workers that hang."""
        with self._including_old_workers():
            super().murder_workers()

    def stop(self, graceful: bool = True) -> None:
        """Stop all workers, and wait for them."""
        self._stopping = True
        with self._including_old_workers():
            super().stop(graceful)

    @contextmanager
    def _including_old_workers(self) -> Iterator[None]:
        """Count the old workers as well inside the ``with``."""
        self.WORKERS.update(self._old_workers)
        try:
            yield
        finally:
            self._old_workers = {
                pid: self.WORKERS.pop(pid) for pid in self._old_workers if pid in self.WORKERS
            }
