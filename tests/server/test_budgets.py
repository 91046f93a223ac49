"""Everything that a stranger can send at ten times its limit, while another client measures.

docs/budgets.md has the table. The bound here is generous, because other tests run beside this one:
what is shown is that the worker goes on serving. On an idle machine an answer takes less than
100 ms; ``pytest -s`` prints how long it took, and how long it takes in peace.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.server.client_body import (
    CHUNKS,
    EXTENSION_BYTES,
    TRAILER_BYTES,
)
from gateway.server.head_reader import HEAD_BYTES
from tests.support.processes import ROOT, free_port, python_module, running
from tests.support.raw import request
from tests.support.serving import Served, serving

BOUND_SECONDS = 2.0
SECONDS = 0.4
CLIENTS = 8
CONNECTIONS = 20

_GET = b"GET /public/x HTTP/1.1\r\nHost: h\r\n"
_FORM = (
    b"POST /oauth/token HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n"
)
_CHUNKED_FORM = _FORM + b"Transfer-Encoding: chunked\r\n\r\n"
_UPLOAD = b"POST /public/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
_TINY_CHUNKS = b"1\r\nx\r\n" * 10 * CHUNKS
_EXTENSIONS = (b"1;" + b"a" * 4000 + b"\r\nx\r\n") * (10 * EXTENSION_BYTES // 4000)


def lines(name: bytes, value: bytes, size: int) -> bytes:
    """Return header lines of ``size`` bytes in all."""
    line = name + b": " + value + b"\r\n"
    return line * (size // len(line))


@dataclass(frozen=True)
class Attack:
    """What each client sends, again and again. ``clients`` of them do so at once."""

    data: bytes
    clients: int = CLIENTS
    #: Whether a client waits for the answer before it connects again.
    waits: bool = True
    bound: float = BOUND_SECONDS


def crowd(data: bytes) -> Attack:
    """Return ten times as many clients as there are connections; each holds one and does no more.

    Everybody waits in line then, and each place becomes free within less than half a second.
    """
    return Attack(data, clients=10 * CONNECTIONS, waits=False, bound=4 * BOUND_SECONDS)


ATTACKS = {
    "head": Attack(_GET + lines(b"X", b"b" * 16_000, 10 * HEAD_BYTES) + b"\r\n"),
    "head without an end": Attack(_GET + b"X: " + b"b" * 10 * HEAD_BYTES),
    "request line": Attack(b"GET /" + b"a" * 10 * 8190 + b" HTTP/1.1\r\nHost: h\r\n\r\n"),
    "fields": Attack(_GET + b"A: b\r\n" * 1000 + b"\r\n"),
    "fields that are dropped": Attack(_GET + b"_:\r\n" * 12_000 + b"\r\n"),
    "Connection": Attack(_GET + lines(b"Connection", b"a," * 8000, HEAD_BYTES) + b"\r\n"),
    "Cookie": Attack(_GET + lines(b"Cookie", b"a=b;" * 4000, HEAD_BYTES) + b"\r\n"),
    "Accept on an error": Attack(
        b"TRACE /public/x HTTP/1.1\r\nHost: h\r\n"
        + lines(b"Accept", b"a/b;q=0.1," * 1600, HEAD_BYTES - 1000)
        + b"\r\n"
    ),
    "chunks of a form": Attack(_CHUNKED_FORM + _TINY_CHUNKS + b"0\r\n\r\n"),
    "chunks of an upload": Attack(_UPLOAD + _TINY_CHUNKS + b"0\r\n\r\n"),
    "chunk extensions": Attack(_CHUNKED_FORM + _EXTENSIONS + b"0\r\n\r\n"),
    "chunk extensions of an upload": Attack(_UPLOAD + _EXTENSIONS + b"0\r\n\r\n"),
    "trailers": Attack(_UPLOAD + b"0\r\n" + lines(b"A", b"b", 10 * TRAILER_BYTES) + b"\r\n"),
    "form": Attack(_FORM + b"Content-Length: 655360\r\n\r\n" + b"a&" * 327_680),
    "fields of a form": Attack(_FORM + b"Content-Length: 65536\r\n\r\n" + b"a&" * 32_768),
    "pipelined requests": Attack(b"GET /private HTTP/1.1\r\nHost: h\r\n\r\n" * 2000),
    "connections": crowd(b""),
    "slow heads": crowd(_GET),
    "slow uploads": crowd(_UPLOAD + b"1\r\nx\r\n"),
    "slow forms": crowd(_FORM + b"Content-Length: 60000\r\n\r\na"),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker, so that nobody answers in its place."""
    folder = tmp_path_factory.mktemp("budgets")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    changes = (("workers = 1", f"workers = 1\nconnections = {CONNECTIONS}"),)
    with (
        running(python_module("tests.support.echo", str(port)), log=folder / "log", ready=url),
        serving(folder, url, replace=changes) as gateway,
    ):
        yield gateway


def send(port: int, attack: Attack, enough: threading.Event) -> None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(attack.data)
        if attack.waits:
            client.settimeout(1.0)
            client.recv(65_536)
        else:
            enough.wait(10)


@contextmanager
def under(port: int, attack: Attack) -> Iterator[None]:
    enough = threading.Event()

    def repeat() -> None:
        while not enough.is_set():
            send(port, attack, enough)

    clients = [threading.Thread(target=repeat, daemon=True) for _ in range(attack.clients)]
    for client in clients:
        client.start()
    try:
        yield
    finally:
        enough.set()
        for client in clients:
            client.join()


def health(port: int) -> float:
    started = time.monotonic()
    assert request(port, "/oauth/health/live").status == 200
    return time.monotonic() - started


@pytest.mark.parametrize("name", ATTACKS)
def test_others_are_answered_meanwhile(served: Served, name: str) -> None:
    attack = ATTACKS[name]
    in_peace = min(health(served.port) for _ in range(5))
    with under(served.port, attack):
        deadline = time.monotonic() + SECONDS
        times: list[float] = []
        while time.monotonic() < deadline or not times:
            times.append(health(served.port))
    slowest = max(times)
    sys.stdout.write(
        f"\n{name}: {len(times)} answers, the slowest after {slowest * 1000:.0f} ms,"
        f" {slowest / in_peace:.0f} times as long as in peace\n"
    )
    assert slowest < attack.bound


def test_every_budget_names_a_test_that_exists() -> None:
    table = (ROOT / "docs" / "budgets.md").read_text()
    sources = {path: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    files = {str(path.relative_to(ROOT)) for path in sources}
    named = set(re.findall(r"`(test_\w+|tests/[\w/]+\.py)`", table))
    assert len(named) > 25
    for name in named:
        assert name in files or any(f"def {name}(" in text for text in sources.values()), name


def test_a_thousand_hosts_leave_nothing_behind(served: Served) -> None:
    """800 of 16 KB each, were they remembered with the lines that they make, are 40 MB."""
    (worker,) = served.workers()

    def memory() -> int:
        status = Path(f"/proc/{worker}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) * 1024

    for length in (200, 16_000):
        ask_for_hosts(served.port, 50, length)
    before = memory()
    ask_for_hosts(served.port, 800, 16_000)
    assert memory() - before < 8_000_000


def ask_for_hosts(port: int, number: int, length: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        for each in range(number):
            host = f"{each}.".rjust(length, "h").encode()
            client.sendall(b"GET /public/x HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
            received = b""
            while b"\r\n\r\n" not in received:
                received += client.recv(65_536)
            head, _, body = received.partition(b"\r\n\r\n")
            length_line = re.search(rb"content-length: (\d+)", head.lower())
            assert length_line is not None
            while len(body) < int(length_line[1]):
                body += client.recv(65_536)
