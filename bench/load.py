"""A load generator that costs little: every connection in one event loop of one process.

Prepared bytes go out, and no more is read of an answer than where it ends. The loop is closed:
a connection sends its next request when it has its answer.
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
#: Linux drops what is received with this flag without copying it, on TCP.
_DISCARD = socket.MSG_TRUNC if sys.platform == "linux" else 0
_ANSWER = re.compile(
    rb"HTTP/1\.1 (\d{3})[^\r]*\r\n(?:.*\r\n)*?content-length: *(\d+)\r\n", re.IGNORECASE
)
_CLOSES = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Load:
    """What a measured server gave: requests and bytes of bodies a second, latencies in ms.

    ``answers`` are all that came, also before and after the time that counts.
    """

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    bytes_per_second: float
    answers: int


def request(path: str, token: str | None = None, *fields: str) -> bytes:
    """Return a GET request as bytes, with further header lines."""
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
    """Send ``message`` over and over on kept-alive connections for some seconds.

    What is answered during ``warm_up`` does not count. With ``pause``, each connection waits
    so long before its next request, so that the server is not saturated. A request that is
    under way at the end has ``patience`` seconds to be answered: its latency counts, or else
    it is an error; its rate does not.
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
    #: Bytes of the body to come; ``None`` while the head is being read.
    left: int | None = None
    closes: bool = False


@dataclass
class _Counts:
    latencies: list[float] = field(default_factory=list)
    answers: int = 0
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
        self._under_way: set[_Connection] = set()
        self._counts = _Counts()
        self._counting = False
        self._answers = 0
        self._ending = False

    def run(self, connections: int, warm_up: float, seconds: float, patience: float) -> Load:
        started = perf_counter()
        for number in range(connections):
            connection = self._connect()
            if self._pause:
                # Spread, so that they do not come all at once for ever.
                self._resting.append((started + self._pause * number / connections, connection))
            else:
                self._send(connection)
        self._go_on(started + warm_up)
        self._counts, self._counting = _Counts(), True
        began = perf_counter()
        self._go_on(began + seconds)
        lasted = perf_counter() - began
        answers, received = self._counts.answers, self._counts.received
        self._ending = True
        self._resting.clear()
        self._go_on(perf_counter() + patience)
        counts = self._counts
        latencies = sorted(counts.latencies)
        return Load(
            per_second=answers / lasted,
            p50_ms=quantile(latencies, 0.50),
            p99_ms=quantile(latencies, 0.99),
            errors=counts.errors + len(self._under_way),
            bytes_per_second=received / lasted,
            answers=self._answers,
        )

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.data.sock.close()
        self._selector.close()

    def _go_on(self, until: float) -> None:
        while (now := perf_counter()) < until and (self._under_way or self._resting):
            timeout = until - now
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
        connection.head, connection.left = b"", None
        self._under_way.add(connection)
        connection.sent_at = perf_counter()
        try:
            connection.sock.send(self._message)
        except OSError:
            self._fail(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            if connection.left is None:
                data = connection.sock.recv(_HEAD_BYTES)
                count = len(data)
                connection.head += data
            else:
                count = connection.sock.recv_into(self._buffer, _PIECE, _DISCARD)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if connection not in self._under_way:
            # A server may end a connection that rests.
            if not count:
                self._replace(connection)
            return
        if not count:
            self._fail(connection)
            return
        if connection.left is not None:
            self._counts.received += count
            connection.left -= count
        elif not self._read_head(connection):
            return
        if connection.left == 0:
            self._answered(connection)

    def _read_head(self, connection: _Connection) -> bool:
        head, end, body = connection.head.partition(b"\r\n\r\n")
        if not end:
            return False
        answer = _ANSWER.match(head + b"\r\n")
        if answer is None:
            raise ValueError(f"not an answer with a length: {head!r}")
        if answer[1] != b"200":
            self._counts.errors += 1
        connection.closes = _CLOSES.search(head + b"\r\n") is not None
        connection.left = int(answer[2]) - len(body)
        self._counts.received += len(body)
        return True

    def _answered(self, connection: _Connection) -> None:
        now = perf_counter()
        self._under_way.discard(connection)
        self._answers += 1
        if self._counting:
            self._counts.answers += 1
            self._counts.latencies.append((now - connection.sent_at) * 1000)
        if self._ending:
            return
        if connection.closes:
            connection = self._renewed(connection)
        self._rest_or_send(connection, now)

    def _fail(self, connection: _Connection) -> None:
        self._counts.errors += 1
        self._under_way.discard(connection)
        fresh = self._renewed(connection)
        if not self._ending:
            self._rest_or_send(fresh, perf_counter())

    def _rest_or_send(self, connection: _Connection, now: float) -> None:
        if self._pause:
            self._resting.append((now + self._pause, connection))
        else:
            self._send(connection)

    def _replace(self, connection: _Connection) -> None:
        fresh = self._renewed(connection)
        self._resting = deque(
            (due, fresh if each is connection else each) for due, each in self._resting
        )

    def _renewed(self, connection: _Connection) -> _Connection:
        self._selector.unregister(connection.sock)
        connection.sock.close()
        return self._connect()


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the value at ``part`` (0 to 1) of values in order; 0 where there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0
