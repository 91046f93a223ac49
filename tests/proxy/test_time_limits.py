"""No side may keep the others waiting for longer than it is allowed to."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from .conftest import Gateway
from .wire import OK, POST, Backend, Client, Peer

#: More than a busy machine adds to the limits here, and less than any that is not set.
BUSY_SECONDS = 4.0


def send_in_vain(client: Client, size: int) -> None:
    with contextlib.suppress(OSError):
        client.send(b"x" * size)


class TestTimeLimits:
    def test_a_backend_that_refuses_is_a_502_quickly(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        started = time.monotonic()

        assert gateway.get(proxy="refused").status == 502
        assert gateway.exchange(POST, proxy="refused").status == 502
        assert time.monotonic() - started < BUSY_SECONDS

    @pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200"], ids=["nothing", "half a line"])
    def test_a_backend_that_says_nothing_is_a_504_and_the_next_request_works(
        self, gateway: Gateway, backend: Backend, begun: bytes
    ) -> None:
        backend.stays_silent_after(begun)
        started = time.monotonic()

        answer = gateway.get(proxy="impatient")

        assert 0.25 < time.monotonic() - started < BUSY_SECONDS
        assert answer.status == 504
        assert b'"error": "gateway_timeout"' in answer.body
        backend.answers(OK)
        assert gateway.get(proxy="impatient").status == 200

    def test_a_body_that_stalls_is_broken_off(self, gateway: Gateway, backend: Backend) -> None:
        backend.stays_silent_after(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")

        answer = gateway.get(proxy="impatient")

        assert (answer.body, answer.complete) == (b"hello", False)

    def test_a_backend_that_stops_reading_is_a_504(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        done = threading.Event()

        def script(peer: Peer) -> None:
            peer.read_head()
            done.wait(5)

        backend.script = script
        client = gateway.connect("impatient")
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n")
        sending = threading.Thread(target=send_in_vain, args=(client, 50_000_000))
        sending.start()

        assert client.read_answer().status == 504
        done.set()
        client.close()
        sending.join(5)

    @pytest.mark.parametrize(
        ("framing", "part"),
        [(b"Content-Length: 10", b"hello"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n")],
    )
    def test_a_client_that_stops_sending_is_a_408(
        self, gateway: Gateway, backend: Backend, framing: bytes, part: bytes
    ) -> None:
        client = gateway.connect("impatient")
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\n", framing, b"\r\n\r\n", part)

        assert client.read_answer().status == 408
        assert backend.requests == []

    def test_the_total_time_bounds_an_answer_that_trickles(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                peer.send(b"1\r\nx\r\n")
                time.sleep(0.05)

        backend.script = script
        started = time.monotonic()

        answer = gateway.get(proxy="total")

        assert not answer.complete
        assert 0.35 < time.monotonic() - started < BUSY_SECONDS

    def test_the_total_time_bounds_the_wait_for_an_answer(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.stays_silent_after(b"")
        started = time.monotonic()

        assert gateway.get(proxy="total").status == 504
        assert 0.35 < time.monotonic() - started < BUSY_SECONDS
