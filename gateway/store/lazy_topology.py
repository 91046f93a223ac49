"""The topology of the store: made at the first use, made anew after a fork and after a close.

If the embedded store died together with its supervisor, a thread in the background starts it again.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.config.settings import Store
from gateway.store.embedded import EmbeddedStore, EmbeddedStoreError
from gateway.store.topology import Topology, connect

logger = logging.getLogger("gateway.store")


class LazyTopology:
    """The topology that ``settings`` describe, and this process's share of an embedded store.

    ``generation`` grows with each :meth:`close`.
    """

    def __init__(self, settings: Store) -> None:
        self.generation = 0
        self._settings = settings
        self._embedded = EmbeddedStore(settings.data_dir) if settings.url == "embedded" else None
        self._topology: Topology | None = None
        self._owner_pid = 0
        self._connecting = threading.Lock()

    def start_embedded(self) -> None:
        """Start the embedded store, if the URL names it. Raises EmbeddedStoreError."""
        if self._embedded is not None:
            self._embedded.ensure_running()

    def get(self) -> Topology:
        """Return the topology of this process; make it at the first call.

        Raises EmbeddedStoreError, and redis-py's TimeoutError while another thread makes it.
        """
        topology = self._topology
        if topology is not None and self._owner_pid == os.getpid():
            return topology
        if not self._connecting.acquire(timeout=self._settings.timeout):
            raise RedisTimeoutError("another thread is connecting")
        try:
            if self._topology is None or self._owner_pid != os.getpid():
                self._topology = connect(self._settings, self._embedded_socket())
                self._owner_pid = os.getpid()
            return self._topology
        finally:
            self._connecting.release()

    def close(self) -> None:
        """Close the connections, and give up the share of an embedded store."""
        self.generation += 1
        if self._topology is not None:
            self._topology.close()
            self._topology = None
        if self._embedded is not None:
            self._embedded.release()

    def revive_embedded(self) -> None:
        """Start an embedded store again that died, in the background.

        The supervisor restarts a server that died; this is for a supervisor that died too. A
        restart takes longer than a request may wait, so the request does not wait for it.
        """
        if self._embedded is not None and self._connecting.acquire(blocking=False):
            arguments = (self._embedded, self.generation)
            try:
                threading.Thread(target=self._revive, args=arguments, daemon=True).start()
            except RuntimeError:
                # The process cannot start another thread. A later request tries again.
                self._connecting.release()

    def _embedded_socket(self) -> Path | None:
        if self._embedded is None:
            return None
        return self._embedded.ensure_running(self._settings.timeout)

    def _revive(self, embedded: EmbeddedStore, generation: int) -> None:
        try:
            embedded.ensure_running()
            if self.generation != generation and self._topology is None:
                # It was closed meanwhile, and nobody has used it since.
                embedded.release()
        except EmbeddedStoreError as error:
            logger.error("the embedded store does not start: %s", error)  # noqa: TRY400
        finally:
            self._connecting.release()
