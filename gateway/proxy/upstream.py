"""Connections to the backend's addresses: kept alive, bounded, spread, and never handed out dead.

A pool belongs to one process and is made after the fork. Its lock is held for list operations
only; connecting and looking whether a connection still lives happen outside of it. Nothing done
under it can make a greenlet wait, nor can a look at a connection, so both go past gevent, whose
locks take several times as long, and polls twenty times.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections import deque
from dataclasses import dataclass
from select import POLLIN
from threading import Condition
from time import monotonic
from urllib.parse import urlsplit

from gateway.config.settings import Upstream
from gateway.proxy import unpatched
from gateway.proxy.http1 import PATIENCE, UpstreamError, UpstreamTimeoutError

_log = logging.getLogger("gateway.proxy")

#: A kept-alive connection unused for so many seconds is closed.
IDLE_SECONDS = 30.0
#: Servers end idle connections after 2 s (gunicorn), 5 s (node) or later. A request that
#: must not be sent twice takes only a connection used so recently that none of them would.
SAFELY_IDLE_SECONDS = 1.0
#: An address that refused a connection is tried last for so long, doubled at each failure.
FIRST_DOWN_SECONDS = 0.5
LONGEST_DOWN_SECONDS = 30.0

_DEFAULT_PORTS = {"http": 80, "https": 443}


class PoolExhaustedError(UpstreamError):
    """Every connection stayed in use for as long as a request may wait."""


class ConnectFailedError(UpstreamError):
    """No address of the backend took a connection; nothing was sent."""


class ConnectTimeoutError(UpstreamTimeoutError):
    """No address of the backend took a connection in time; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a backend listens: a host and port, with or without TLS, or a unix socket."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def authority(self) -> str:
        """What stands in Host when the client sent none."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.scheme == "unix" else f"{self.scheme}://{self.authority}"


def parse_address(url: str) -> Address:
    """Read ``http://host:port``, ``https://host:port`` or ``unix:/path``; ValueError if not."""
    if url.startswith("unix:"):
        path = url.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(f"{url!r} does not name an absolute path of a socket")
        return Address("unix", path=path)
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is not http://host:port, https://host:port or unix:/path")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{url!r} holds more than a host and a port")
    port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
    return Address(parts.scheme, parts.hostname, port)


class Connection:
    """One connected socket, counted by its backend."""

    __slots__ = ("_poll", "backend", "kept_alive", "sock", "used_at")

    def __init__(self, sock: socket.socket, backend: Backend) -> None:
        self.sock = sock
        self.backend = backend
        self.kept_alive = False
        self.used_at = 0.0
        self._poll = None
        if not isinstance(sock, ssl.SSLSocket):
            self._poll = unpatched.poll()
            self._poll.register(sock, POLLIN)

    def is_alive(self, patience: float) -> bool:
        """Whether nothing happened on it while it was idle; anything that did ends it.

        A live one is left with ``patience`` as its timeout.
        """
        alive = not self._poll.poll(0) if self._poll is not None else self._has_nothing_to_read()
        self.sock.settimeout(patience)
        return alive

    def _has_nothing_to_read(self) -> bool:
        # What comes over TLS may be a message of TLS itself, and no event on the connection.
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False


class Backend:
    """One address: its idle connections, how many are in use, and whether it is down."""

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self.address = address
        self.idle: deque[Connection] = deque()
        self.in_use = 0
        self.failures = 0
        self.down_until = 0.0
        self._context = context

    def connect(self, timeout: float) -> socket.socket:
        """Open a connection within ``timeout`` seconds a step; raises OSError."""
        address = self.address
        if address.scheme == "unix":
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(timeout)
                sock.connect(address.path)
            except BaseException:
                sock.close()
                raise
            return sock
        sock = socket.create_connection((address.host, address.port), timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                # A body that lasts until the end of the connection must not be cut short by
                # whoever can close it: the end has to be signed as well.
                sock = self._context.wrap_socket(
                    sock, server_hostname=address.host, suppress_ragged_eofs=False
                )
        except BaseException:
            sock.close()
            raise
        return sock


class Pool:
    """The connections to all addresses of ``settings``.

    ``settings.connections`` bounds those in use at each address. A request waits for one
    as long as it would for connecting.
    """

    def __init__(self, settings: Upstream) -> None:
        addresses = [parse_address(url) for url in settings.urls]
        if not addresses:
            raise ValueError("the upstream has no address")
        context = None
        if any(address.scheme == "https" for address in addresses):
            context = ssl.create_default_context(cafile=settings.ca_file)
            context.set_alpn_protocols(["http/1.1"])
        self.backends = [
            Backend(address, context if address.scheme == "https" else None)
            for address in addresses
        ]
        self._limit = settings.connections
        self._connect_timeout = settings.connect_timeout
        self._patience = min(PATIENCE, settings.read_timeout)
        self._changed = Condition(unpatched.Lock())
        self._waiting = 0
        self._turn = 0
        self._closed = False

    @property
    def authority(self) -> str:
        """The host that the backend goes by where a client named none."""
        return self.backends[0].address.authority

    def acquire(
        self, *, idle_seconds: float = IDLE_SECONDS, deadline: float | None = None
    ) -> Connection:
        """Give a live connection, kept alive for at most ``idle_seconds``, or a new one.

        Raises :class:`PoolExhaustedError`, :class:`ConnectFailedError` or
        :class:`ConnectTimeoutError`; nothing lasts beyond ``deadline`` (of the monotonic
        clock). Every connection given must come back through :meth:`release`.
        """
        failed: list[Backend] = []
        error: OSError | None = None
        while True:
            backend = self._reserve(failed, deadline)
            if backend is None:
                if isinstance(error, TimeoutError):
                    raise ConnectTimeoutError("it took too long to connect") from error
                raise ConnectFailedError("it takes no connections") from error
            connection = self._idle_connection(backend, idle_seconds)
            if connection is not None:
                return connection
            timeout = self._connect_timeout
            if deadline is not None:
                timeout = max(0.001, min(timeout, deadline - monotonic()))
            try:
                sock = backend.connect(timeout)
            except OSError as problem:
                error = problem
                failed.append(backend)
                self._unreserve(backend, failed=True)
                _log.warning("upstream %s: no connection: %s", backend.address, problem)
            except BaseException:
                self._unreserve(backend)
                raise
            else:
                backend.failures = 0
                backend.down_until = 0.0
                sock.settimeout(self._patience)
                return Connection(sock, backend)

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """Take a connection back, to keep it or to close it."""
        backend = connection.backend
        now = monotonic()
        expired = None
        with self._changed:
            backend.in_use -= 1
            reusable = reusable and not self._closed
            if reusable:
                connection.kept_alive = True
                connection.used_at = now
                backend.idle.append(connection)
                if now - backend.idle[0].used_at > IDLE_SECONDS:
                    expired = backend.idle.popleft()
            if self._waiting:
                self._changed.notify()
        if not reusable:
            connection.sock.close()
        if expired is not None:
            expired.sock.close()

    def close(self) -> None:
        """Close what is idle now, and the rest as it comes back."""
        with self._changed:
            self._closed = True
            idle = [connection for backend in self.backends for connection in backend.idle]
            for backend in self.backends:
                backend.idle.clear()
        for connection in idle:
            connection.sock.close()

    def _reserve(self, failed: list[Backend], deadline: float | None) -> Backend | None:
        """Count one connection more at the best address; None if all of them failed."""
        until: float | None = None
        with self._changed:
            while True:
                backend = self._best(failed)
                if backend is None or backend.in_use < self._limit:
                    if backend is not None:
                        backend.in_use += 1
                    return backend
                now = monotonic()
                if until is None:
                    until = now + self._connect_timeout
                    if deadline is not None:
                        until = min(until, deadline)
                if now >= until:
                    raise PoolExhaustedError("all of its connections are in use")
                self._waiting += 1
                try:
                    self._changed.wait(until - now)
                finally:
                    self._waiting -= 1

    def _best(self, failed: list[Backend]) -> Backend | None:
        """Choose the address with the fewest connections in use, those that are down last."""
        if len(self.backends) == 1:
            return None if failed else self.backends[0]
        now = monotonic()
        self._turn = (self._turn + 1) % len(self.backends)
        candidates = [
            backend
            for backend in self.backends[self._turn :] + self.backends[: self._turn]
            if backend not in failed
        ]
        return min(
            candidates,
            key=lambda backend: (max(0.0, backend.down_until - now), backend.in_use),
            default=None,
        )

    def _idle_connection(self, backend: Backend, idle_seconds: float) -> Connection | None:
        """Take the connection used last, if it is young enough and lives."""
        oldest = monotonic() - idle_seconds
        while True:
            try:
                connection = backend.idle.pop()
            except IndexError:
                return None
            if connection.used_at >= oldest and connection.is_alive(self._patience):
                return connection
            connection.sock.close()
            if connection.used_at < oldest:
                # Those below are older still. One goes for the one that will be opened.
                return None

    def _unreserve(self, backend: Backend, *, failed: bool = False) -> None:
        with self._changed:
            backend.in_use -= 1
            if failed:
                wait = FIRST_DOWN_SECONDS * 2.0 ** min(backend.failures, 10)
                backend.failures += 1
                backend.down_until = monotonic() + min(wait, LONGEST_DOWN_SECONDS)
            if self._waiting:
                self._changed.notify()
