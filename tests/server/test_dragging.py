"""Clients that drag things out, and those that push: neither keeps the others waiting."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.serving import PATIENCE_SECONDS, Served, serving, until

_FORM = (
    b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"
    b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
)


@pytest.fixture(scope="module")
def served(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker with four connections; what a client may take is shorter than usual."""
    patches = (
        "import gateway.server.connection, gateway.site.endpoint_request\n"
        "gateway.site.endpoint_request.FORM_SECONDS = 1.0\n"
        "connection = gateway.server.connection\n"
        "connection.DRAIN_SECONDS = connection.LINGER_SECONDS = 0.5\n"
    )
    replace = (
        ("workers = 1", "workers = 1\nconnections = 4"),
        (f'url = "{backend}"', f'url = "{backend}"\ntotal_timeout = 1.5'),
    )
    folder = tmp_path_factory.mktemp("dragging")
    with serving(folder, backend, patches, replace=replace) as running:
        yield running


@contextmanager
def connected(served: Served, data: bytes) -> Iterator[socket.socket]:
    """Open a connection and send the beginning of a request."""
    with socket.create_connection(("127.0.0.1", served.port), PATIENCE_SECONDS) as client:
        client.sendall(data)
        yield client


@contextmanager
def pushing(client: socket.socket, data: bytes = b"x" * 65_536) -> Iterator[None]:
    """Send without end, as fast as the server takes it."""
    enough = threading.Event()

    def push() -> None:
        with suppress(OSError):
            while not enough.is_set():
                client.sendall(data)

    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        thread.join()


def all_of(client: socket.socket) -> bytes:
    """Read until the connection ends, in whatever way."""
    received = b""
    with suppress(ConnectionError):
        while data := client.recv(65_536):
            received += data
    return received


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /private HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n", b"401"),
        (b"POST /private HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"401"),
        (
            _FORM % 100_000_000_000,
            b"413",
        ),
    ],
    ids=["length", "chunks", "form"],
)
def test_a_body_that_nobody_wants_does_not_stop_the_worker(
    served: Served, head: bytes, status: bytes
) -> None:
    """The client sees its answer, though it goes on sending, and then its connection ends."""
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    pushed = chunk if b"chunked" in head else chunk[7:-2]
    with connected(served, head) as client, pushing(client, pushed):
        assert client.recv(65_536).startswith(b"HTTP/1.1 " + status)
        slowest = 0.0
        for _ in range(10):
            started = time.monotonic()
            assert served.get("/public/x").status == 200
            slowest = max(slowest, time.monotonic() - started)
        all_of(client)
    assert slowest < 3.0


def test_a_small_body_that_nobody_wants_costs_no_connection(served: Served) -> None:
    head = b"POST /private HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"
    with connected(served, head + b"GET /public/x HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        received = b""
        while received.count(b"HTTP/1.1 ") < 2:
            received += client.recv(65_536)
        assert received.startswith(b"HTTP/1.1 401")
        assert b"HTTP/1.1 200" in received


def test_forms_that_never_end_give_their_connections_back(served: Served) -> None:
    """Silent, or a byte now and then; four of them are all the connections that there are."""
    head = _FORM % 100 + b"grant"
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(served, head)) for _ in range(4)]
        stack.enter_context(dripping(clients[0]))
        stack.enter_context(dripping(clients[1]))
        started = time.monotonic()
        assert served.get("/public/x").status == 200
        assert time.monotonic() - started < 5.0
        for client in clients:
            assert all_of(client).startswith(b"HTTP/1.1 400")


@contextmanager
def dripping(client: socket.socket) -> Iterator[None]:
    """Send a byte every tenth of a second."""
    enough = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            while not enough.wait(0.1):
                client.sendall(b"x")

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@pytest.mark.parametrize("length", [100, 400_000])
def test_the_total_time_bounds_an_upload_that_trickles(served: Served, length: int) -> None:
    head = b"POST /public/x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length
    with connected(served, head + b"x" * (length // 2)) as client, dripping(client):
        started = time.monotonic()
        assert all_of(client).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 5.0


def test_a_trailer_without_end_breaks_the_body_and_stops_nobody(served: Served) -> None:
    with connected(served, b"GET /public/trailer/50000000 HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        started = time.monotonic()
        answer = all_of(client)
        assert time.monotonic() - started < 5.0
    assert answer.startswith(b"HTTP/1.1 200")
    assert not answer.endswith(b"0\r\n\r\n")


def test_a_client_that_waits_to_be_invited_is_refused_without_its_body(served: Served) -> None:
    """RFC 9110 §10.1.1. Nobody knows what comes next, so the connection ends."""
    head = b"POST /private HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n"
    with connected(served, head + b"Authorization: Bearer wrong\r\n\r\n") as client:
        answer = all_of(client)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"100 Continue" not in answer


def test_it_is_invited_where_somebody_wants_its_body(served: Served) -> None:
    head = (
        b"POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\n\r\n"
    )
    with connected(served, head) as client:
        assert client.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"grant_type=x")
        answer = client.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"invalid_client" in answer


def test_a_worker_that_is_ended_in_the_middle_of_an_answer_adds_nothing_to_it(
    backend: str, tmp_path: Path
) -> None:
    """What it would say of the error counts as bytes of the body that broke off."""
    with serving(tmp_path, backend) as running:
        (worker,) = running.workers()
        with connected(running, b"GET /public/events/0 HTTP/1.1\r\nHost: x\r\n\r\n") as client:
            received = b""
            while b"data: event" not in received:
                received += client.recv(65_536)
            os.kill(worker, signal.SIGABRT)
            received += all_of(client)
        assert received.count(b"HTTP/1.1 ") == 1
        assert b"<html>" not in received
        until(lambda: running.workers() and worker not in running.workers())


def test_the_highest_version_that_is_spoken_is_1_1(served: Served) -> None:
    with connected(served, b"GET /public/x HTTP/1.9\r\nHost: x\r\n\r\n") as client:
        assert client.recv(65_536).startswith(b"HTTP/1.1 ")


def test_a_client_whose_requests_never_end_leaves_others_their_turn(served: Served) -> None:
    """Its socket is always ready, in both directions, so nothing else would make it wait."""
    requests = b"GET /private HTTP/1.1\r\nHost: x\r\n\r\n" * 1000

    def take(client: socket.socket) -> None:
        with suppress(OSError):
            while client.recv(1_000_000):
                pass

    with connected(served, b"") as client, pushing(client, requests):
        taking = threading.Thread(target=take, args=(client,), daemon=True)
        taking.start()
        slowest = 0.0
        for _ in range(10):
            started = time.monotonic()
            assert served.get("/public/x").status == 200
            slowest = max(slowest, time.monotonic() - started)
        assert taking.is_alive()
    assert slowest < 3.0
