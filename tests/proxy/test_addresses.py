"""Where connections go: several addresses, unix sockets, TLS."""

from __future__ import annotations

import threading
import time

import pytest

from gateway.config.settings import Upstream
from gateway.proxy.upstream import Address, Pool, parse_address

from .conftest import Backends, Gateway
from .wire import GET, OK, POST, Answer, Backend, Client, EndOfStreamError, Peer


class TestSeveralAddresses:
    def together(self, gateway: Gateway, count: int) -> list[Answer]:
        clients: list[Client] = [gateway.connect("several") for _ in range(count)]
        for client in clients:
            client.send(GET)
        return [client.read_answer() for client in clients]

    def test_the_load_is_spread(self, gateway: Gateway, backends: Backends) -> None:
        def script_for(backend: Backend) -> None:
            def script(peer: Peer) -> None:
                while True:
                    backend.requests.append(peer.read_request())
                    time.sleep(0.1)
                    peer.send(OK)

            backend.script = script

        for other in backends.others:
            script_for(other)

        self.together(gateway, 12)

        assert [len(other.requests) for other in backends.others] == [4, 4, 4]

    def test_requests_one_by_one_go_around(self, gateway: Gateway, backends: Backends) -> None:
        for _ in range(9):
            gateway.get(proxy="several")

        assert [len(other.requests) for other in backends.others] == [3, 3, 3]

    @pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
    def test_one_that_is_down_is_passed_over(
        self, gateway: Gateway, backend: Backend, request_bytes: bytes
    ) -> None:
        """Nothing was sent to it, so even a POST goes to another one."""
        for _ in range(6):
            assert gateway.exchange(request_bytes, proxy="one down").status == 200

        assert len(backend.requests) == 6

    def test_one_that_is_down_is_tried_again_after_a_growing_while(self) -> None:
        dead = Backend()
        dead.close()
        alive = Backend()
        pool = Pool(Upstream(urls=(dead.url, alive.url)))
        first = pool.backends[0]
        waits: list[float] = []
        for _ in range(8):
            pool.release(pool.acquire(), reusable=False)
            if first.failures > len(waits):
                waits.append(first.down_until - time.monotonic())
            first.down_until = min(first.down_until, time.monotonic())

        assert waits == sorted(waits)
        assert waits[0] <= 0.5 < waits[1] <= 1.0 < waits[-1] <= 30
        alive.close()

    def test_if_all_are_down_all_are_tried_so_that_recovery_is_seen_at_once(self) -> None:
        backend = Backend()
        pool = Pool(Upstream(urls=(backend.url,)))
        pool.backends[0].down_until = time.monotonic() + 30

        pool.release(pool.acquire(), reusable=False)

        assert pool.backends[0].down_until == 0
        backend.close()


class TestKindsOfAddresses:
    def test_a_unix_socket(self, gateway: Gateway, backends: Backends) -> None:
        answers = [gateway.exchange(request, proxy="unix") for request in [GET, POST, GET]]

        assert [answer.body for answer in answers] == [b"ok"] * 3
        assert len(backends.unix.peers) == 1
        assert backends.unix.requests[0].values("Host") == ["h"]

    def test_tls_with_a_certificate_that_is_verified(
        self, gateway: Gateway, backends: Backends
    ) -> None:
        body = b"x" * 3_000_000
        head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
        backends.tls.answers(
            OK, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )

        first = gateway.exchange(head, body, proxy="tls")
        second = gateway.exchange(GET, proxy="tls")

        assert first.body == b"ok"
        assert second.body == body
        assert backends.tls.requests[0].body == body
        assert len(backends.tls.peers) == 1

    def test_tls_events_arrive_at_once_and_a_truncation_shows(
        self, gateway: Gateway, backends: Backends
    ) -> None:
        go_on = threading.Event()

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(b"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n")
            go_on.wait(5)
            # The end of the TCP connection without that of TLS is nobody's word.

        backends.tls.script = script
        client = gateway.connect("tls")
        client.send(GET)
        client.read_until(b"data: 1\n\n")
        go_on.set()

        with pytest.raises(EndOfStreamError):
            client.read(1000)
        assert not client.received.endswith(b"0\r\n\r\n")

    def test_tls_with_a_certificate_that_nobody_vouches_for_is_a_502(
        self, gateway: Gateway, backends: Backends
    ) -> None:
        assert gateway.get(proxy="tls unverified").status == 502
        assert backends.tls.requests == []

    @pytest.mark.parametrize(
        ("url", "address", "authority"),
        [
            ("http://app", Address("http", "app", 80), "app"),
            ("http://app:8080/", Address("http", "app", 8080), "app:8080"),
            ("https://app", Address("https", "app", 443), "app"),
            ("http://[::1]:81", Address("http", "::1", 81), "[::1]:81"),
            ("unix:/run/app.sock", Address("unix", path="/run/app.sock"), "localhost"),
        ],
    )
    def test_how_an_address_is_written(self, url: str, address: Address, authority: str) -> None:
        assert parse_address(url) == address
        assert address.authority == authority

    @pytest.mark.parametrize(
        "url",
        ["", "app:80", "ftp://app", "http://", "http://a/b", "http://a?b", "http://u@a",
         "http://a:x", "http://a:99999", "unix:", "unix:run/app.sock"],
    )  # fmt: skip
    def test_what_is_no_address(self, url: str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            parse_address(url)
