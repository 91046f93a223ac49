"""A load generator that costs little: one process a connection, prepared bytes, plain sockets."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What a measured server gave: requests a second, and latencies in milliseconds."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def request(path: str, token: str | None = None) -> bytes:
    """Return a GET request as bytes."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n{authorization}\r\n".encode()


def measure(port: int, message: bytes, *, connections: int = 8, seconds: float = 4.0) -> Load:
    """Send ``message`` over and over on kept-alive connections for some seconds."""
    with multiprocessing.Pool(connections) as pool:
        results = pool.starmap(_one, [(port, message, seconds)] * connections)
    latencies = sorted(latency for each, _ in results for latency in each)
    return Load(
        per_second=len(latencies) / seconds,
        p50_ms=_at(latencies, 0.50),
        p99_ms=_at(latencies, 0.99),
        errors=sum(errors for _, errors in results),
    )


def _one(port: int, message: bytes, seconds: float) -> tuple[list[float], int]:
    latencies: list[float] = []
    errors = 0
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(10)
        now = time.perf_counter()
        end = now + seconds
        while now < end:
            connection.sendall(message)
            if not _answer(connection).startswith(b"HTTP/1.1 200"):
                errors += 1
            done = time.perf_counter()
            latencies.append((done - now) * 1000)
            now = done
    return latencies, errors


def _answer(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    lower = head.lower()
    at = lower.index(b"content-length:") + 15
    length = int(lower[at:].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += connection.recv(65_536)
    return head


def _at(ordered: Sequence[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * quantile))] if ordered else 0.0
