"""Clients that hold connections without using them leave room for the others.

The gateway here has four connections. It accepts a few more while these are in use. It waits less
long than usual, so that the tests need not.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from gateway.server.waiting import SLOW_BODY_RATE
from gateway.server.worker import most_connections
from tests.support.processes import free_port, python_module, running
from tests.support.raw import request
from tests.support.serving import Served, serving

CONNECTIONS = 4
BODY_GRACE_SECONDS = 0.5
#: A tick of the worker, the time that a slow body has, and what a busy machine adds.
SOON_SECONDS = 5.0
PATCHES = f"""
import gateway.server.worker as worker
worker.CROWDED = worker.Patience(idle=0.5, send=0.5, body={BODY_GRACE_SECONDS}, check=0.2)
worker._CHECK_SECONDS = 0.2
"""

UPLOAD = b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"
CHUNKED_UPLOAD = b"POST /public/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
FORM = (
    b"POST /oauth/token HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
)
UNWANTED = b"POST /private HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n"
HEAD = b"GET /public/x HTTP/1.1\r\nHost: h\r\nX-A: "


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A backend that takes uploads."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("echo") / "log"
    with running(python_module("tests.support.echo", str(port)), log=log, ready=url):
        yield url


@pytest.fixture(scope="module")
def gateway(echo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    changes = (("workers = 1", f"workers = 1\nconnections = {CONNECTIONS}"),)
    with serving(tmp_path_factory.mktemp("crowded"), echo, PATCHES, replace=changes) as served:
        yield served


@contextmanager
def slow_clients(
    gateway: Served, number: int, begin: bytes, piece: bytes = b"x", every: float = 0.2
) -> Iterator[list[socket.socket]]:
    """Open connections, and send a piece on each of them now and then."""
    enough = threading.Event()

    def drip() -> None:
        while not enough.wait(every):
            for client in clients:
                with suppress(OSError):
                    client.sendall(piece)

    with ExitStack() as stack:
        clients = []
        for _ in range(number):
            client = socket.create_connection(("127.0.0.1", gateway.port), 30)
            clients.append(stack.enter_context(client))
            client.sendall(begin)
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            yield clients
        finally:
            enough.set()
            thread.join()


def seconds_of(ask: Callable[[], int], status: int = 200) -> float:
    started = time.monotonic()
    assert ask() == status
    return time.monotonic() - started


def health(gateway: Served) -> float:
    return seconds_of(lambda: request(gateway.port, "/oauth/health/live").status)


def all_of(client: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionError):
        while data := client.recv(65_536):
            received += data
    return received


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        pytest.param(UPLOAD, b"x", id="upload"),
        pytest.param(CHUNKED_UPLOAD, b"1\r\nx\r\n", id="upload in chunks"),
        pytest.param(CHUNKED_UPLOAD + b"1;", b"a", id="chunk extension"),
        pytest.param(CHUNKED_UPLOAD + b"0\r\nA: ", b"a", id="trailer"),
        pytest.param(UPLOAD, b"", id="upload that stands still"),
        pytest.param(FORM, b"x", id="form"),
        pytest.param(UNWANTED, b"x", id="upload that nobody wants"),
        pytest.param(HEAD, b"x", id="head"),
        pytest.param(b"", b"", id="nothing"),
    ],
)
def test_others_are_served_while_slow_clients_hold_every_connection(
    gateway: Served, begin: bytes, piece: bytes
) -> None:
    """At first by the connections that are kept for this, then by those that are taken back."""
    with slow_clients(gateway, CONNECTIONS, begin, piece):
        time.sleep(0.1)
        assert health(gateway) < 2.0
        assert all(health(gateway) < SOON_SECONDS for _ in range(CONNECTIONS))
    with slow_clients(gateway, most_connections(CONNECTIONS), begin, piece):
        assert all(health(gateway) < SOON_SECONDS for _ in range(CONNECTIONS))


def test_a_slow_upload_is_told_so(gateway: Served) -> None:
    with slow_clients(gateway, CONNECTIONS, UPLOAD) as clients:
        assert health(gateway) < SOON_SECONDS
        assert all_of(clients[0]).startswith(b"HTTP/1.1 408 ")


def test_a_fast_upload_goes_on(gateway: Served) -> None:
    """Ten times as fast as it has to be, for longer than a slow one may take."""
    pieces = 15
    every = (BODY_GRACE_SECONDS + 1.0) / pieces
    piece = b"x" * int(10 * SLOW_BODY_RATE * every)
    head = b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as client:
        client.sendall(head % (pieces * len(piece)))
        with slow_clients(gateway, CONNECTIONS - 1, UPLOAD):
            for _ in range(pieces):
                client.sendall(piece)
                time.sleep(every)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_a_slow_upload_goes_on_while_there_is_room(gateway: Served) -> None:
    with slow_clients(gateway, CONNECTIONS - 2, UPLOAD) as clients:
        time.sleep(BODY_GRACE_SECONDS + 2.0)
        assert health(gateway) < SOON_SECONDS
        for client in clients:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)


def test_an_upload_that_has_come_waits_for_the_backend_as_long_as_it_takes(
    gateway: Served,
) -> None:
    """A request whose body is complete is no slow upload, however long its response takes."""
    whole = b"POST /public/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
    with slow_clients(gateway, CONNECTIONS, whole, b"") as clients:
        for client in clients:
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")


# --- The connections to the backend


@pytest.fixture(scope="module")
def narrow(echo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway with many connections for clients and two to its backend."""
    changes = (("[upstream]\n", "[upstream]\nconnections = 2\n"),)
    with serving(tmp_path_factory.mktemp("narrow"), echo, PATCHES, replace=changes) as served:
        yield served


def test_slow_uploads_give_the_connections_to_the_backend_back(narrow: Served) -> None:
    with slow_clients(narrow, 2, UPLOAD + b"x") as clients:
        time.sleep(1.0)
        ask = lambda: request(narrow.port, "/public/y").status  # noqa: E731
        assert seconds_of(ask) < SOON_SECONDS
        assert all_of(clients[0]).startswith(b"HTTP/1.1 408 ")


# --- Responses that nobody takes


def test_others_are_served_while_nobody_takes_the_responses(backend: str, tmp_path: Path) -> None:
    changes = (("workers = 1", f"workers = 1\nconnections = {CONNECTIONS}"),)
    large = b"GET /public/bytes/50000000 HTTP/1.1\r\nHost: h\r\n\r\n"
    number = most_connections(CONNECTIONS)
    with (
        serving(tmp_path, backend, PATCHES, replace=changes) as served,
        slow_clients(served, number, large, b"") as clients,
    ):
        assert all(health(served) < SOON_SECONDS for _ in range(CONNECTIONS))
        assert len(all_of(clients[0])) < 50_000_000
