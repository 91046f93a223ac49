"""The backend gets an upload as the client sends it, where the server gives what has come."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.http.client_socket import WITHIN
from gateway.proxy.request_body import request_body

from .conftest import RunningGateway
from .wire import OK, Backend, Client, EndOfStreamError, Peer

PIECE = b"x" * 100
PAUSE_SECONDS = 0.5
PIECES = 5
#: Less than the pause, by as much as a busy machine takes.
SOON_SECONDS = 0.45


@pytest.fixture
def arrivals(backend: Backend) -> list[tuple[float, int]]:
    """Let the backend note when how many bytes have come behind the head."""
    noted: list[tuple[float, int]] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        count = peer.buffer.count(b"x")
        try:
            while count < PIECES * len(PIECE):
                noted.append((time.monotonic(), count))
                peer._more()
                count = peer.buffer.count(b"x")
            noted.append((time.monotonic(), count))
        except EndOfStreamError:
            return
        peer.send(OK)

    backend.script = script
    return noted


@pytest.fixture
def client(gateway: RunningGateway) -> Client:
    if not gateway.own_server:
        pytest.skip("this server gives nothing before it has 1024 bytes")
    return gateway.connect()


@pytest.mark.parametrize("chunked", [True, False], ids=["chunks", "length"])
def test_every_piece_arrives_before_the_next_one_is_sent(
    client: Client, arrivals: list[tuple[float, int]], chunked: bool
) -> None:
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 500"
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\n", framing, b"\r\n\r\n")
    sent = []
    for _ in range(PIECES):
        sent.append(time.monotonic())
        client.send(b"64\r\n", PIECE, b"\r\n") if chunked else client.send(PIECE)
        time.sleep(PAUSE_SECONDS)
    if chunked:
        client.send(b"0\r\n\r\n")

    assert client.read_answer().status == 200
    delays = [
        min(when for when, count in arrivals if count >= (number + 1) * len(PIECE)) - moment
        for number, moment in enumerate(sent)
    ]
    # The first request of a worker takes a while, so the first pieces may come together.
    assert max(delays[2:]) < SOON_SECONDS


def test_a_piece_within_one_chunk_does_not_wait_for_the_end_of_the_chunk(
    client: Client, arrivals: list[tuple[float, int]]
) -> None:
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1F4\r\n")
    for number in range(PIECES):
        client.send(PIECE)
        time.sleep(PAUSE_SECONDS)
        assert arrivals[-1][1] == (number + 1) * len(PIECE)
    client.send(b"\r\n0\r\n\r\n")

    assert client.read_answer().status == 200


def test_a_small_body_in_a_few_packets_is_one_message(client: Client, backend: Backend) -> None:
    """The backend of a client that is only a little slow need not wait for it."""
    seen = []

    def script(peer: Peer) -> None:
        peer.read_head()
        seen.append(bytes(peer.buffer))
        peer.read(9)
        peer.send(OK)

    backend.script = script
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n")
    for piece in (b"one", b"two", b"six"):
        client.send(piece)
        time.sleep(0.01)

    assert client.read_answer().status == 200
    assert seen == [b"onetwosix"]


class TestOtherServers:
    """What the application is given decides how it reads."""

    def test_a_stream_without_read1_is_read_as_before(self) -> None:
        class Stream:
            def __init__(self) -> None:
                self.sizes: list[int] = []

            def read(self, size: int) -> bytes:
                self.sizes.append(size)
                return b"x" * size

        stream = Stream()
        body = request_body({"CONTENT_LENGTH": "200000", "wsgi.input": stream}, 1)
        assert body is not None

        assert len(body.first()) == 65_536
        assert stream.sizes == [65_536]

    def test_a_first_piece_waits_no_longer_than_it_may(self) -> None:
        class Slow(io.BytesIO):
            def read1(self, size: int | None = -1) -> bytes:
                data = super().read1(1)
                if self.tell() == 4:
                    raise TimeoutError
                return data

        @contextmanager
        def within(seconds: float) -> Iterator[None]:
            assert seconds < 1
            yield

        environ = {"CONTENT_LENGTH": "9", "wsgi.input": Slow(b"abcdefghi"), WITHIN: within}
        body = request_body(environ, 1)
        assert body is not None

        assert body.first() == b"abc"
        assert not body.ended
