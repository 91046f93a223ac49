"""Bodies pass through piece by piece, at once, and in flat memory."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from pathlib import Path

import pytest

from .conftest import Gateway, RunningGateway
from .wire import OK, Backend, Client, EndOfStreamError, Peer

MEGABYTE = 1_000_000


def peak_memory(process: int) -> int:
    """Give the most memory that a process ever had, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) * 1024


def test_events_arrive_one_by_one_within_100_ms(gateway: Gateway, backend: Backend) -> None:
    sent = []

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(4):
            time.sleep(0.1)
            event = b"data: %d\n\n" % number
            sent.append(time.monotonic())
            peer.send(b"%x\r\n%b\r\n" % (len(event), event))
        peer.send(b"0\r\n\r\n")

    backend.script = script
    client = gateway.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    client.read_until(b"\r\n\r\n")
    received = []
    for number in range(4):
        assert b"data: %d" % number in client.read_until(b"\n\n")
        received.append(time.monotonic())

    delays = [there - here for here, there in zip(sent, received, strict=True)]
    assert max(delays) < 0.1


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked", b"Content-Length: 5"])
def test_the_head_of_an_answer_does_not_wait_for_its_body(
    gateway: Gateway, backend: Backend, framing: bytes
) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        go_on.wait(5)
        peer.send(b"hello" if framing.endswith(b"5") else b"5\r\nhello\r\n0\r\n\r\n")

    backend.script = script
    client = gateway.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

    head = client.read_until(b"\r\n\r\n")
    go_on.set()

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    client.read_until(b"hello")


def test_silence_longer_than_a_while_does_not_end_a_stream(
    gateway: Gateway, backend: Backend
) -> None:
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        time.sleep(0.7)
        peer.send(b"0\r\n\r\n")

    backend.script = script

    answer = gateway.get()

    assert (answer.body, answer.complete) == (b"hello", True)


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
def test_a_large_answer_passes_in_flat_memory(
    gateway: RunningGateway, backend: Backend, chunked: bool
) -> None:
    piece = bytes(range(256)) * 4096  # 1 MiB
    count = 30

    def script(peer: Peer) -> None:
        peer.read_request()
        if chunked:
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count * len(piece)))
        for _ in range(count):
            peer.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            peer.send(b"0\r\n\r\n")

    gateway.get()
    before = peak_memory(gateway.worker)
    backend.forget()
    backend.script = script

    answer = gateway.get()

    assert answer.complete
    assert answer.body == piece * count
    assert peak_memory(gateway.worker) - before < 10 * MEGABYTE


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
def test_a_large_request_passes_in_flat_memory(
    gateway: RunningGateway, backend: Backend, chunked: bool
) -> None:
    piece = bytes(range(256)) * 4096
    count = 30
    gateway.get()
    before = peak_memory(gateway.worker)
    client = gateway.connect()
    framing = b"Transfer-Encoding: chunked"
    if not chunked:
        framing = b"Content-Length: %d" % (count * len(piece))

    client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n")
    for _ in range(count):
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        client.send(b"0\r\n\r\n")

    assert client.read_answer().status == 200
    assert backend.requests[-1].meaning == piece * count
    assert peak_memory(gateway.worker) - before < 10 * MEGABYTE


def test_a_slow_reader_holds_the_backend_back(gateway: Gateway, backend: Backend) -> None:
    """What nobody takes is not piled up in the gateway."""
    total = 40 * MEGABYTE
    sent = [0]

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent[0] < total:
            peer.send(b"x" * 100_000)
            sent[0] += 100_000

    backend.script = script
    client = gateway.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    client.read_until(b"\r\n\r\n")
    time.sleep(0.5)

    assert sent[0] < total
    assert len(client.read(total)) == total


def test_a_fast_upload_does_not_hold_other_requests_up(gateway: Gateway, backend: Backend) -> None:
    """Sockets that are always ready never make a greenlet wait, so it has to be made to."""
    size = 150 * MEGABYTE
    uploading, small = gateway.connect(), gateway.connect()
    uploading.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)

    def script(peer: Peer) -> None:
        # Connections stay: the upload might get one that is just being closed, and a 502 with it.
        while True:
            request = peer.read_head()
            if request.line.startswith(b"POST"):
                left = size - len(peer.buffer)
                while left:
                    left -= len(peer.sock.recv(MEGABYTE))
                peer.buffer.clear()
            peer.send(OK)

    backend.script = script
    sending = threading.Thread(target=send_in_vain, args=(uploading, b"x" * size))
    sending.start()
    begun = time.monotonic()
    longest = 0.0
    while sending.is_alive():
        started = time.monotonic()
        small.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert small.read_answer().body == b"ok"
        longest = max(longest, time.monotonic() - started)

    assert uploading.read_answer().body == b"ok"
    assert longest < (time.monotonic() - begun) / 2


class TestAnswersThatComeEarly:
    LARGE = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n"

    def test_a_slow_client_is_told_of_it_before_it_sent_everything(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            peer.seconds_until_closed()

        backend.script = script
        client = gateway.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.sock.settimeout(0.01)
        sent = 0
        while sent < 1_000_000 and not client.received:
            client.send(b"fa0\r\n" + b"x" * 4000 + b"\r\n")
            sent += 4000
            with contextlib.suppress(TimeoutError):
                assert client.read_answer().status == 403

        assert sent < 200_000

    @pytest.mark.parametrize("closes", [True, False], ids=["and closes", "and keeps open"])
    def test_a_refusal_reaches_a_client_that_still_sends(
        self, gateway: Gateway, backend: Backend, closes: bool
    ) -> None:
        """The backend reads nothing of the body, so sending it whole would hang."""

        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
            if not closes:
                with contextlib.suppress(TimeoutError):
                    peer.sock.settimeout(1.0)
                    while not peer_closed.wait(0.05):
                        pass

        peer_closed = threading.Event()
        backend.script = script
        client = gateway.connect()
        client.send(self.LARGE)
        sending = threading.Thread(target=send_in_vain, args=(client, b"x" * 50 * MEGABYTE))
        sending.start()
        started = time.monotonic()

        answer = client.read_answer()

        assert (answer.status, answer.body) == (413, b"large")
        assert time.monotonic() - started < 2
        peer_closed.set()
        client.close()
        sending.join(5)

    def test_the_connection_is_not_used_again(self, gateway: Gateway, backend: Backend) -> None:
        """What is left of the body would be read as a request."""

        def script(peer: Peer) -> None:
            head = peer.read_head()
            backend.requests.append(head)
            if head.line.startswith(b"GET"):
                peer.send(OK)
            else:
                peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            with contextlib.suppress(EndOfStreamError):
                while True:
                    peer.read(1000)

        backend.script = script
        client = gateway.connect()
        smuggled = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n" * 500_000
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(smuggled))
        sending = threading.Thread(target=send_in_vain, args=(client, smuggled))
        sending.start()

        assert client.read_answer().status == 401
        sending.join(5)
        assert gateway.get().status == 200
        assert [one.target for one in backend.requests] == [b"/", b"/"]
        assert len(backend.peers) == 2

    def test_a_backend_that_answers_while_it_reads_gets_the_whole_body(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        """As one that converts what it is sent; neither side waits for the other's end."""
        size = 20 * MEGABYTE

        def script(peer: Peer) -> None:
            peer.read_head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            for _ in range(size // 100_000):
                peer.send(peer.read(100_000))

        backend.script = script
        client = gateway.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
        body = bytes(range(250)) * (size // 250)
        sending = threading.Thread(target=client.send, args=(body,))
        sending.start()

        answer = client.read_answer()

        sending.join(5)
        assert answer.body == body

    def test_an_interim_answer_does_not_end_the_sending(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        def script(peer: Peer) -> None:
            request = peer.read_head()
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.body = peer.read(1_000_000)
            backend.requests.append(request)
            peer.send(OK)

        backend.script = script
        answer = gateway.exchange(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", b"x" * 1_000_000
        )

        assert answer.status == 200
        assert backend.requests[0].body == b"x" * 1_000_000


def send_in_vain(client: Client, data: bytes) -> None:
    """Send to somebody who may not want it all."""
    with contextlib.suppress(OSError):
        client.send(data)
