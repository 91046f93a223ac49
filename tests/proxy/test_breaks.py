"""Whoever breaks off, nobody takes a part for the whole."""

from __future__ import annotations

import threading
import time

import pytest

from .conftest import Gateway, RunningGateway
from .wire import OK, Backend, EndOfStreamError, Peer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
WITH_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"
RESET = b"instead of an orderly end"


class TestTheBackend:
    @pytest.mark.parametrize(
        ("begun", "end"),
        [
            pytest.param(CHUNKED, b"", id="chunked, closed"),
            pytest.param(CHUNKED, RESET, id="chunked, reset"),
            pytest.param(CHUNKED, b"5\r\nhe", id="within a chunk"),
            pytest.param(CHUNKED, b"0\r\n", id="within the trailer section"),
            pytest.param(CHUNKED, b"rubbish", id="chunked, rubbish"),
            pytest.param(CHUNKED, b"5\r\nhello!", id="a chunk too long"),
            pytest.param(WITH_LENGTH, b"", id="length, closed"),
            pytest.param(WITH_LENGTH, RESET, id="length, reset"),
            pytest.param(b"HTTP/1.1 200 OK\r\n\r\nhello", RESET, id="until the end, reset"),
            pytest.param(CHUNKED[:-10], b"", id="before the first chunk"),
            pytest.param(WITH_LENGTH[:-5], b"", id="before the first byte"),
        ],
    )
    def test_a_body_that_breaks_off_never_looks_whole(
        self, gateway: Gateway, backend: Backend, begun: bytes, end: bytes
    ) -> None:
        go_on = threading.Event()

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(begun)
            go_on.wait(5)
            if end == RESET:
                peer.reset()
            else:
                peer.send(end)

        backend.script = script
        client = gateway.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        head = client.read_until(b"\r\n\r\n")
        go_on.set()

        with pytest.raises(EndOfStreamError):
            client.read(1000)

        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert not client.received.endswith(b"0\r\n\r\n")
        assert not client.buffer.endswith(b"hellohello")

    def test_the_log_says_so_without_a_traceback(
        self, gateway: RunningGateway, backend: Backend
    ) -> None:
        backend.breaks_off_after(WITH_LENGTH)
        before = len(gateway.log.read_bytes())

        assert not gateway.get().complete

        assert backend.wait_for(lambda: b"in the middle of" in gateway.log.read_bytes()[before:])
        assert b"Traceback" not in gateway.log.read_bytes()[before:]

    def test_rubbish_right_behind_the_head_is_a_502(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.answers(CHUNKED + b"rubbish")

        assert gateway.get().status == 502

    def test_before_the_head_ended_it_is_a_502(self, gateway: Gateway, backend: Backend) -> None:
        backend.breaks_off_after(WITH_LENGTH[:20])

        assert gateway.get().status == 502

    def test_while_it_is_sent_a_body_it_is_a_502(self, gateway: Gateway, backend: Backend) -> None:
        backend.script = lambda peer: peer.read(50_000)
        client = gateway.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        client.send(b"x" * 1_000_000)

        assert client.read_answer().status == 502


class TestTheClient:
    @pytest.mark.parametrize(
        ("begun", "how"),
        [
            pytest.param(b"", "closed", id="before the head"),
            pytest.param(CHUNKED, "closed", id="in a chunked body"),
            pytest.param(WITH_LENGTH, "reset", id="with a reset"),
            pytest.param(CHUNKED, "pipelined", id="with a request sent ahead"),
        ],
    )
    def test_when_it_goes_away_the_backends_connection_closes_within_a_second(
        self, gateway: Gateway, backend: Backend, begun: bytes, how: str
    ) -> None:
        """The backend is silent meanwhile, so nothing is written that could fail."""
        seconds: list[float] = []

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(begun)
            begin.set()
            left.wait(5)
            seconds.append(peer.seconds_until_closed())

        begin, left = threading.Event(), threading.Event()
        backend.script = script
        client = gateway.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        if how == "pipelined":
            client.send(b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
        assert begin.wait(5)
        if begun:
            client.read_until(b"hello")
        if how == "reset":
            client.reset()
        else:
            client.close()
        left.set()

        assert backend.wait_for(lambda: bool(seconds), limit=3)
        assert seconds[0] < 1.0

    def test_while_it_takes_nothing_but_stays_a_slow_answer_arrives(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        """Requests sent ahead are no sign of having left, and are served in turn."""

        def script(peer: Peer) -> None:
            while True:
                backend.requests.append(peer.read_request())
                time.sleep(0.8 if len(backend.requests) == 1 else 0)
                peer.send(OK)

        backend.script = script
        client = gateway.connect()
        client.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")

        assert [client.read_answer().status, client.read_answer().status] == [200, 200]
        assert [one.target for one in backend.requests] == [b"/1", b"/2"]

    @pytest.mark.parametrize(
        ("framing", "part"),
        [
            pytest.param(b"Content-Length: 1000", b"x" * 999, id="length, small"),
            pytest.param(b"Content-Length: 1000000", b"x" * 999_999, id="length, large"),
            pytest.param(b"Transfer-Encoding: chunked", b"3\r\nabc\r\n", id="chunked, small"),
            pytest.param(
                b"Transfer-Encoding: chunked",
                b"186a0\r\n" + b"x" * 100_000 + b"\r\n",
                id="chunked, large",
            ),
            pytest.param(
                b"Transfer-Encoding: chunked",
                b"186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\n",
                id="chunked, before the last line",
            ),
        ],
    )
    @pytest.mark.parametrize("how", ["closed", "reset", "half closed"])
    def test_a_request_that_breaks_off_is_never_completed(
        self, gateway: Gateway, backend: Backend, framing: bytes, part: bytes, how: str
    ) -> None:
        client = gateway.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n", part)
        large = len(part) > 70_000
        if large:
            assert backend.wait_for(lambda: bool(backend.peers and backend.peers[0].received))
        if how == "reset":
            client.reset()
        elif how == "closed":
            client.close()
        else:
            client.sock.shutdown(1)

        if large:
            peer = backend.peers[0]
            assert backend.wait_for(peer.is_closed), "the connection stayed open"
            assert not peer.received.endswith(b"0\r\n\r\n")
        else:
            time.sleep(0.1)
        assert backend.requests == []
