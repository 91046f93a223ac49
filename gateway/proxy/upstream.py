"""Connections to the backend's addresses: kept alive, limited in number, and spread evenly.

A pool belongs to one process and is made after the fork. Its lock is held for list operations
only: connecting to an address and probing an idle connection happen without it. Neither the lock
nor the probe can make a greenlet wait, so both bypass gevent. gevent's locks take several times as
long, its polls twenty times.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from select import POLLIN
from threading import Condition
from time import monotonic
from urllib.parse import urlsplit

from gateway.config.settings import Upstream
from gateway.http.keepalive import notice_dead_peer
from gateway.proxy import unpatched
from gateway.proxy.happy_eyeballs import SocketAddress, addresses_of, connect_to_any
from gateway.proxy.http1 import CLIENT_CHECK_SECONDS, UpstreamError, UpstreamTimeoutError

_log = logging.getLogger("gateway.proxy")

#: A kept-alive connection that was unused for this long is closed.
IDLE_SECONDS = 30.0
#: Servers close idle connections after 2 s (gunicorn), 5 s (node) or later. A request that must
#: not be sent twice takes only a connection that was used more recently than this.
SAFELY_IDLE_SECONDS = 1.0
#: An address that refused a connection is tried last for this long, doubled at each failure.
FIRST_DOWN_SECONDS = 0.5
LONGEST_DOWN_SECONDS = 30.0
#: Where there is another address to try, one that does not answer costs a request this long. It is
#: less than the second after which a lost packet is sent again.
FAILOVER_SECONDS = 0.5

_DEFAULT_PORTS = {"http": 80, "https": 443}


class PoolExhaustedError(UpstreamError):
    """Every connection stayed in use for as long as a request may wait for one."""


class ConnectFailedError(UpstreamError):
    """No address of the backend accepted a connection; nothing was sent."""


class ConnectTimeoutError(UpstreamTimeoutError):
    """No address of the backend accepted a connection in time; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the backend listens: a host and port, with or without TLS, or a unix socket."""

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def authority(self) -> str:
        """The value of Host for a request whose client sent none."""
        if self.scheme == "unix":
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.path}" if self.scheme == "unix" else f"{self.scheme}://{self.authority}"


def parse_address(url: str) -> Address:
    """Parse ``http://host:port``, ``https://host:port`` or ``unix:/path``; else ValueError."""
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
    """One connected socket to one address."""

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

    def probe(self, timeout: float) -> bool:
        """Return whether the connection is still usable, and set its timeout to ``timeout``.

        While it was idle, nothing may have come: not its end, and no byte either.
        """
        usable = not self._poll.poll(0) if self._poll is not None else self._probe_tls()
        self.sock.settimeout(timeout)
        return usable

    def _probe_tls(self) -> bool:
        # A readable TLS socket may hold a message of TLS itself, which is no reason to close it.
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False


class Backend:
    """One address: its idle connections, the number in use, and until when it counts as down."""

    def __init__(
        self, address: Address, context: ssl.SSLContext | None, server_name: str = ""
    ) -> None:
        self.address = address
        self.idle: deque[Connection] = deque()
        self.in_use = 0
        self.failures = 0
        self.down_until = 0.0
        self._context = context
        self._server_name = server_name or address.host
        self._last_good: SocketAddress | None = None

    def connect(self, timeout: float, tls_timeout: float) -> socket.socket:
        """Connect within ``timeout`` seconds, and agree on TLS with ``tls_timeout`` for each step.

        Raises OSError.
        """
        if self.address.scheme == "unix":
            return self._connect_unix(timeout)
        sock = self._connect_tcp(timeout)
        try:
            sock.settimeout(tls_timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_dead_peer(sock)
            if self._context is not None:
                # A body may last until the end of the connection. Anybody on the way could cut it
                # short, so TLS has to confirm that end too.
                sock = self._context.wrap_socket(
                    sock, server_hostname=self._server_name, suppress_ragged_eofs=False
                )
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect_unix(self, timeout: float) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(self.address.path)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect_tcp(self, timeout: float) -> socket.socket:
        """Connect to any address of the name, beginning with the one that was good last time."""
        addresses = addresses_of(self.address.host, self.address.port)
        # Sorting keeps the order of the others.
        addresses.sort(key=lambda address: address != self._last_good)
        sock, self._last_good = connect_to_any(addresses, timeout)
        return sock


class Pool:
    """The connections to all addresses of ``settings``.

    At most ``settings.connections`` are in use at each address. A request waits up to
    ``settings.connect_timeout`` for a free one.
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
            Backend(address, context if address.scheme == "https" else None, settings.server_name)
            for address in addresses
        ]
        self._limit = settings.connections
        self._connect_timeout = settings.connect_timeout
        self._patience = min(CLIENT_CHECK_SECONDS, settings.read_timeout)
        self._freed = Condition(unpatched.Lock())
        self._waiting = 0
        self._turn = 0
        self._closed = False

    @property
    def authority(self) -> str:
        """The value of Host for a request whose client sent none."""
        return self.backends[0].address.authority

    def acquire(
        self,
        *,
        idle_seconds: float = IDLE_SECONDS,
        deadline: float | None = None,
        before_wait: Callable[[], object] | None = None,
    ) -> Connection:
        """Return a usable connection that was idle for at most ``idle_seconds``, or a new one.

        Raises :class:`PoolExhaustedError`, :class:`ConnectFailedError` or
        :class:`ConnectTimeoutError`. Nothing lasts beyond ``deadline`` (a time of the monotonic
        clock). ``before_wait`` is called if all connections are in use. The caller gives the
        connection back through :meth:`release`.
        """
        failed: list[Backend] = []
        error: OSError | None = None
        while True:
            backend = self._reserve(failed, deadline, before_wait)
            if backend is None:
                if isinstance(error, TimeoutError):
                    raise ConnectTimeoutError("no address accepted a connection in time") from error
                raise ConnectFailedError("no address accepts connections") from error
            connection = self._pop_idle(backend, idle_seconds)
            if connection is not None:
                return connection
            try:
                return self._connect(backend, deadline, last=len(failed) + 1 == len(self.backends))
            except OSError as problem:
                error = problem
                failed.append(backend)
                _log.warning("cannot connect to upstream %s: %s", backend.address, problem)

    def _connect(self, backend: Backend, deadline: float | None, *, last: bool) -> Connection:
        """Connect to an address on which :meth:`_reserve` has counted. Raises OSError.

        Unless it is the ``last`` one, the next address is tried soon.
        """
        tls_timeout = self._connect_timeout
        if deadline is not None:
            tls_timeout = max(0.001, min(tls_timeout, deadline - monotonic()))
        timeout = tls_timeout if last else min(tls_timeout, FAILOVER_SECONDS)
        try:
            sock = backend.connect(timeout, tls_timeout)
        except BaseException as error:
            self._unreserve(backend, failed=isinstance(error, OSError))
            raise
        backend.failures = 0
        backend.down_until = 0.0
        sock.settimeout(self._patience)
        return Connection(sock, backend)

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """Take a connection back: keep it if ``reusable``, else close it."""
        backend = connection.backend
        now = monotonic()
        expired = None
        with self._freed:
            backend.in_use -= 1
            reusable = reusable and not self._closed
            if reusable:
                connection.kept_alive = True
                connection.used_at = now
                backend.idle.append(connection)
                if now - backend.idle[0].used_at > IDLE_SECONDS:
                    expired = backend.idle.popleft()
            if self._waiting:
                self._freed.notify()
        if not reusable:
            connection.sock.close()
        if expired is not None:
            expired.sock.close()

    def close(self) -> None:
        """Close the idle connections now, and the others as they come back."""
        with self._freed:
            self._closed = True
            idle = [connection for backend in self.backends for connection in backend.idle]
            for backend in self.backends:
                backend.idle.clear()
        for connection in idle:
            connection.sock.close()

    def _reserve(
        self,
        failed: list[Backend],
        deadline: float | None,
        before_wait: Callable[[], object] | None,
    ) -> Backend | None:
        """Count one connection more at the best address; None if all addresses failed."""
        wait_deadline: float | None = None
        with self._freed:
            while True:
                backend = self._choose_backend(failed)
                if backend is None or backend.in_use < self._limit:
                    if backend is not None:
                        backend.in_use += 1
                    return backend
                now = monotonic()
                if wait_deadline is None:
                    wait_deadline = now + self._connect_timeout
                    if deadline is not None:
                        wait_deadline = min(wait_deadline, deadline)
                    if before_wait is not None:
                        before_wait()
                if now >= wait_deadline:
                    raise PoolExhaustedError("all upstream.connections are in use")
                self._waiting += 1
                try:
                    self._freed.wait(wait_deadline - now)
                finally:
                    self._waiting -= 1

    def _choose_backend(self, failed: list[Backend]) -> Backend | None:
        """Choose the address with the fewest connections in use; one that is down comes last."""
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

    def _pop_idle(self, backend: Backend, idle_seconds: float) -> Connection | None:
        """Take the connection that was used last, if that is recent enough and it is usable."""
        earliest = monotonic() - idle_seconds
        while True:
            try:
                connection = backend.idle.pop()
            except IndexError:
                return None
            if connection.used_at >= earliest and connection.probe(self._patience):
                return connection
            connection.sock.close()
            if connection.used_at < earliest:
                # The others were idle for longer still. One is closed for the new one.
                return None

    def _unreserve(self, backend: Backend, *, failed: bool) -> None:
        """Take back what :meth:`_reserve` counted; an address that ``failed`` counts as down."""
        with self._freed:
            backend.in_use -= 1
            if failed:
                wait = FIRST_DOWN_SECONDS * 2.0 ** min(backend.failures, 10)
                backend.failures += 1
                backend.down_until = monotonic() + min(wait, LONGEST_DOWN_SECONDS)
            if self._waiting:
                self._freed.notify()
