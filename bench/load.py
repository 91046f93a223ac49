"""A load generator that costs little: one process with one event loop for all connections.

It sends prepared bytes, and parses only where a response ends. The loop is closed: a connection
sends its next request when it has the response to the one before.
"""

from __future__ import annotations

import re
import selectors
import socket
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

_PIECE = 262_144
_HEAD_BYTES = 65_536
_HOST = "127.0.0.1"
#: On TCP, Linux drops the bytes that are received with this flag instead of copying them.
_DISCARD = socket.MSG_TRUNC if sys.platform == "linux" else 0
_RESPONSE = re.compile(
    rb"HTTP/1\.1 (\d{3})[^\r]*\r\n(?:.*\r\n)*?content-length: *(\d+)\r\n", re.IGNORECASE
)
_CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """The result: requests and bytes of bodies a second, latencies in milliseconds.

    ``responses`` counts every response, also before and after the measured time.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    bytes_per_second: float
    responses: int


def request(path: str, token: str | None = None, *fields: str) -> bytes:
    """Return a GET request as bytes; ``fields`` are further header lines."""
    authorization = (f"Authorization: Bearer {token}",) if token else ()
    lines = (f"GET {path} HTTP/1.1", "Host: bench", *authorization, *fields, "", "")
    return "\r\n".join(lines).encode()


def measure(
    port: int,
    message: bytes,
    *,
    connections: int = 8,
    seconds: float = 4.0,
    warm_up: float = 0.0,
    pause: float = 0.0,
    patience: float = 10.0,
) -> Load:
    """Send ``message`` again and again on kept-alive connections for ``seconds``.

    Responses during ``warm_up`` do not count. With ``pause``, each connection waits that long
    before its next request, so that the server is not saturated. A request in flight at the end
    has ``patience`` seconds for its response: then its latency counts, but not its rate. Without a
    response it counts as an error.
    """
    loop = _Loop(port, message, pause)
    try:
        return loop.run(connections, warm_up, seconds, patience)
    finally:
        loop.close()


@dataclass(eq=False)
class _Connection:
    sock: socket.socket
    sent_at: float = 0.0
    head: bytes = b""
    #: Bytes of the body that have not come yet; ``None`` while the head is being read.
    remaining: int | None = None
    closes: bool = False


@dataclass
class _Counts:
    latencies: list[float] = field(default_factory=list)
    responses: int = 0
    received: int = 0
    errors: int = 0


class _Loop:
    def __init__(self, port: int, message: bytes, pause: float) -> None:
        self._port = port
        self._message = message
        self._pause = pause
        self._selector = selectors.DefaultSelector()
        self._buffer = bytearray(_PIECE)
        self._resting: deque[tuple[float, _Connection]] = deque()
        self._in_flight: set[_Connection] = set()
        self._counts = _Counts()
        self._counting = False
        self._responses = 0
        self._ending = False

    def run(self, connections: int, warm_up: float, seconds: float, patience: float) -> Load:
        started = perf_counter()
        for number in range(connections):
            connection = self._connect()
            if self._pause:
                # Spread over the pause, or all of them would come at once again and again.
                self._resting.append((started + self._pause * number / connections, connection))
            else:
                self._send(connection)
        self._run_until(started + warm_up)
        self._counts, self._counting = _Counts(), True
        measured_from = perf_counter()
        self._run_until(measured_from + seconds)
        measured_seconds = perf_counter() - measured_from
        responses, received = self._counts.responses, self._counts.received
        self._ending = True
        self._resting.clear()
        self._run_until(perf_counter() + patience)
        counts = self._counts
        latencies = sorted(counts.latencies)
        return Load(
            per_second=responses / measured_seconds,
            p50_ms=quantile(latencies, 0.50),
            p99_ms=quantile(latencies, 0.99),
            errors=counts.errors + len(self._in_flight),
            bytes_per_second=received / measured_seconds,
            responses=self._responses,
        )

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def _run_until(self, deadline: float) -> None:
        while (now := perf_counter()) < deadline and (self._in_flight or self._resting):
            timeout = deadline - now
            while self._resting and self._resting[0][0] <= now:
                self._send(self._resting.popleft()[1])
            if self._resting:
                timeout = min(timeout, self._resting[0][0] - now)
            for key, _ in self._selector.select(timeout):
                self._receive(key.data)

    def _connect(self) -> _Connection:
        connection = _Connection(socket.create_connection((_HOST, self._port), 10))
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock.setblocking(False)
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        return connection

    def _send(self, connection: _Connection) -> None:
        connection.head, connection.remaining = b"", None
        self._in_flight.add(connection)
        connection.sent_at = perf_counter()
        try:
            connection.sock.send(self._message)
        except OSError:
            self._fail(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            if connection.remaining is None:
                data = connection.sock.recv(_HEAD_BYTES)
                count = len(data)
                connection.head += data
            else:
                count = connection.sock.recv_into(self._buffer, _PIECE, _DISCARD)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if connection not in self._in_flight:
            # A server may close a connection between two requests.
            if not count:
                self._replace(connection)
            return
        if not count:
            self._fail(connection)
            return
        if connection.remaining is not None:
            self._counts.received += count
            connection.remaining -= count
        elif not self._read_head(connection):
            return
        if connection.remaining == 0:
            self._finish(connection)

    def _read_head(self, connection: _Connection) -> bool:
        head, end, body = connection.head.partition(b"\r\n\r\n")
        if not end:
            return False
        response = _RESPONSE.match(head + b"\r\n")
        if response is None:
            raise ValueError(f"not a response with a length: {head!r}")
        if response[1] != b"200":
            self._counts.errors += 1
        connection.closes = _CLOSES.search(head + b"\r\n") is not None
        connection.remaining = int(response[2]) - len(body)
        self._counts.received += len(body)
        return True

    def _finish(self, connection: _Connection) -> None:
        now = perf_counter()
        self._in_flight.discard(connection)
        self._responses += 1
        if self._counting:
            self._counts.responses += 1
            self._counts.latencies.append((now - connection.sent_at) * 1000)
        if self._ending:
            return
        if connection.closes:
            connection = self._reconnect(connection)
        self._rest_or_send(connection, now)

    def _fail(self, connection: _Connection) -> None:
        self._counts.errors += 1
        self._in_flight.discard(connection)
        fresh = self._reconnect(connection)
        if not self._ending:
            self._rest_or_send(fresh, perf_counter())

    def _rest_or_send(self, connection: _Connection, now: float) -> None:
        if self._pause:
            self._resting.append((now + self._pause, connection))
        else:
            self._send(connection)

    def _replace(self, connection: _Connection) -> None:
        fresh = self._reconnect(connection)
        self._resting = deque(
            (due, fresh if each is connection else each) for due, each in self._resting
        )

    def _reconnect(self, connection: _Connection) -> _Connection:
        self._selector.unregister(connection.sock)
        connection.sock.close()
        return self._connect()


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the value at ``part`` (0 to 1) of sorted values; 0 if there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
