"""Measures what one forwarded request costs with several HTTP clients, in one run.

A backend in another process responds on loopback, so that only the client's work counts as CPU
time. The candidates take turns in short rounds, and the best round of each counts: other programs
on the machine can only make a round slower.

    python bench/upstream_candidates.py
"""

from __future__ import annotations

import http.client
import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import urllib3

from gateway.config.settings import Server, Upstream
from gateway.proxy.http1 import Exchange
from gateway.proxy.reverse_proxy import Proxy
from gateway.proxy.upstream import Pool

SMALL = b"x" * 100
LARGE_BYTES = 10_000_000
ROUNDS = 8
SMALL_REQUESTS = 400
LARGE_REQUESTS = 6

HEAD = (
    b"GET %b HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    b"Accept-Encoding: identity\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"
)
FIELDS = {
    "User-Agent": "bench",
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "X-Forwarded-For": "127.0.0.1",
}


def serve() -> None:
    """Respond to every request on kept-alive connections until standard input closes."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    fields = b"Content-Type: text/plain\r\nServer: bench\r\nX-One: 1\r\nSet-Cookie: a=b\r\n"
    head = b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: %d\r\n\r\n"
    small = head % len(SMALL) + SMALL
    large = head % LARGE_BYTES + b"x" * LARGE_BYTES

    def respond(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        while data := connection.recv(65536):
            received += data
            if received.endswith(b"\r\n\r\n"):
                connection.sendall(large if received.startswith(b"GET /large") else small)
                received = b""

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=respond, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


@dataclass
class Figures:
    """The best round of one candidate: microseconds for each request."""

    wall: float = float("inf")
    cpu: float = float("inf")

    def add(self, count: int, request: Callable[[], int]) -> None:
        """Time one round of ``count`` requests."""
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        for _ in range(count):
            request()
        self.wall = min(self.wall, (time.perf_counter() - wall_start) / count * 1e6)
        self.cpu = min(self.cpu, (time.process_time() - cpu_start) / count * 1e6)


def candidates(port: int, path: str) -> dict[str, Callable[[], int]]:
    """Return for each candidate a function that makes one request and counts the body's bytes."""
    plain = http.client.HTTPConnection("127.0.0.1", port)

    def with_http_client() -> int:
        plain.request("GET", path, headers=FIELDS)
        response = plain.getresponse()
        count = 0
        while data := response.read(65536):
            count += len(data)
        return count

    manager = urllib3.HTTPConnectionPool("127.0.0.1", port)

    def with_urllib3() -> int:
        response = manager.urlopen("GET", path, headers=FIELDS, preload_content=False)
        count = sum(len(data) for data in response.stream(65536))
        response.release_conn()
        return count

    settings = Upstream(urls=(f"http://127.0.0.1:{port}",))
    pool = Pool(settings)
    head = HEAD % path.encode()

    def with_exchange() -> int:
        connection = pool.acquire()
        exchange = Exchange(connection.sock)
        exchange.send(head)
        exchange.finish_sending(None)
        exchange.read_head()
        count = 0
        while data := exchange.read_body():
            count += len(data)
        exchange.response.discard()
        pool.release(connection, reusable=exchange.reusable)
        return count

    proxy = Proxy(settings, Server(), "gateway.example")
    environ = {
        "REQUEST_METHOD": "GET",
        "RAW_URI": path,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "40000",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "HTTP_HOST": "bench",
        "HTTP_USER_AGENT": "bench",
        "HTTP_ACCEPT": "*/*",
        "HTTP_ACCEPT_ENCODING": "identity",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "gateway.identity_headers": (("X-Forwarded-User", "ann"), ("X-Forwarded-Scope", "all")),
    }

    def write(_: bytes) -> None: ...

    def with_proxy() -> int:
        body = proxy(dict(environ), lambda *_: write)
        count = sum(map(len, body))
        if hasattr(body, "close"):
            body.close()
        return count

    return {
        "gateway.proxy.http1 over gateway.proxy.upstream": with_exchange,
        "the same, as the whole Proxy application": with_proxy,
        "http.client, one connection": with_http_client,
        "urllib3, pool": with_urllib3,
    }


def measure(port: int, path: str, size: int, count: int) -> dict[str, Figures]:
    requests = candidates(port, path)
    figures = {name: Figures() for name in requests}
    for name, request in requests.items():
        assert request() == size, name
    for _ in range(ROUNDS):
        for name, request in requests.items():
            figures[name].add(count, request)
    return figures


def print_table(title: str, figures: dict[str, Figures]) -> None:
    base = next(iter(figures.values()))
    print(f"\n{title}\n{'':42} {'µs':>8} {'ratio':>6} {'CPU µs':>8} {'ratio':>6}")
    for name, one in figures.items():
        ratios = one.wall / base.wall, one.cpu / base.cpu
        print(f"{name:42} {one.wall:8.0f} {ratios[0]:6.2f} {one.cpu:8.0f} {ratios[1]:6.2f}")


def main() -> None:
    backend = subprocess.Popen(
        [sys.executable, __file__, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert backend.stdout is not None
        port = int(backend.stdout.readline())
        small = measure(port, "/small", len(SMALL), SMALL_REQUESTS)
        print_table(f"A response of {len(SMALL)} bytes", small)
        large = measure(port, "/large", LARGE_BYTES, LARGE_REQUESTS)
        print_table(f"A response of {LARGE_BYTES // 1_000_000} MB", large)
    finally:
        backend.terminate()
        backend.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        main()
