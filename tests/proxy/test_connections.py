"""The pool: what is kept, what is retried, what is bounded, and where connections go."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from gateway.config import Upstream
from gateway.http1 import Exchange, StaleConnectionError
from gateway.upstream import Address, Pool, parse_address

from .conftest import CONNECTIONS, Backends, Gateway
from .wire import OK, Answer, Backend, Client, Peer

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"


class TestKeptAliveConnections:
    def test_one_connection_serves_many_requests(self, gateway: Gateway, backend: Backend) -> None:
        for request in [GET, POST, GET, POST, GET]:
            assert gateway.exchange(request).status == 200

        assert len(backend.peers) == 1

    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
            pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
    )
    def test_one_that_the_backend_gives_up_is_not_used_again(
        self, gateway: Gateway, backend: Backend, answer: bytes
    ) -> None:
        backend.answers(answer)
        assert [gateway.get().status, gateway.get().status] == [200, 200]

        assert len(backend.peers) == 2

    @pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
    def test_one_that_died_while_idle_costs_nothing(
        self, gateway: Gateway, backend: Backend, request_bytes: bytes
    ) -> None:
        def script(peer: Peer) -> None:
            backend.requests.append(peer.read_request())
            peer.send(OK)

        backend.script = script
        for count in range(1, 4):
            assert gateway.exchange(request_bytes).status == 200
            peer = backend.peers[count - 1]
            assert backend.wait_for(peer.is_closed)

        assert len(backend.requests) == 3

    @pytest.mark.parametrize("garbage", [b"x", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
    def test_one_on_which_something_came_unasked_is_not_used_again(
        self, gateway: Gateway, backend: Backend, garbage: bytes
    ) -> None:
        assert gateway.exchange(POST).body == b"ok"
        backend.peers[0].send(garbage)

        assert gateway.exchange(POST).body == b"ok"
        assert len(backend.peers) == 2

    def dies_at_the_second_request(self, backend: Backend) -> None:
        """The backend takes the request in and closes, as if it had timed out just then."""
        first = threading.Event()

        def script(peer: Peer) -> None:
            backend.requests.append(peer.read_request())
            peer.send(OK)
            backend.requests.append(peer.read_request())
            if not first.is_set():
                first.set()
                return
            peer.send(OK)

        backend.script = script

    def test_a_post_on_a_dying_connection_is_sent_exactly_once(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        self.dies_at_the_second_request(backend)
        assert gateway.exchange(POST).status == 200

        assert gateway.exchange(POST).status == 502
        assert len(backend.requests) == 2

    @pytest.mark.parametrize("method", [b"PUT", b"DELETE", b"PATCH", b"PROPFIND"])
    def test_so_is_every_other_method_that_changes_something(
        self, gateway: Gateway, backend: Backend, method: bytes
    ) -> None:
        self.dies_at_the_second_request(backend)
        assert gateway.get().status == 200

        assert gateway.exchange(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n").status == 502
        assert len(backend.requests) == 2

    def test_so_is_a_get_with_a_body(self, gateway: Gateway, backend: Backend) -> None:
        self.dies_at_the_second_request(backend)
        assert gateway.get().status == 200

        assert gateway.exchange(POST.replace(b"POST", b"GET")).status == 502
        assert len(backend.requests) == 2

    @pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
    def test_a_safe_method_is_sent_again_once(
        self, gateway: Gateway, backend: Backend, method: bytes
    ) -> None:
        self.dies_at_the_second_request(backend)
        assert gateway.get().status == 200

        assert gateway.exchange(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n").status == 200
        assert len(backend.requests) == 3

    def test_a_new_connection_that_dies_is_not_tried_again(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.script = lambda peer: backend.requests.append(peer.read_request())

        assert gateway.get().status == 502
        assert len(backend.requests) == 1

    def test_nothing_is_sent_again_once_an_answer_began(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        def script(peer: Peer) -> None:
            backend.requests.append(peer.read_request())
            peer.send(OK)
            backend.requests.append(peer.read_request())
            peer.send(b"HTTP/1.1 200")

        backend.script = script
        assert gateway.get().status == 200

        assert gateway.get().status == 502
        assert len(backend.requests) == 2

    def test_a_post_of_which_nothing_was_sent_may_go_out_again(self) -> None:
        """The kernel refuses it whole where it knows already that the connection is gone."""
        ours, theirs = socket.socketpair()
        theirs.close()
        exchange = Exchange(ours, kept_alive=True)
        exchange.send(POST)

        with pytest.raises(StaleConnectionError) as stale:
            exchange.read_head()

        assert stale.value.unsent
        ours.close()

    def test_a_request_that_changes_something_takes_no_connection_that_was_idle_for_long(
        self, backend: Backend
    ) -> None:
        """It may be just about to be closed by the backend, which nobody can see."""
        pool = Pool(Upstream(urls=(backend.url,)))
        pool.release(first := pool.acquire(), reusable=True)
        first.used_at -= 2.0

        second = pool.acquire(idle_seconds=1.0)

        assert second is not first
        assert first.sock.fileno() == -1
        pool.release(second, reusable=True)
        second.used_at -= 2.0
        assert pool.acquire() is second
        pool.release(second, reusable=False)

    def test_connections_idle_for_too_long_are_closed(self, backend: Backend) -> None:
        pool = Pool(Upstream(urls=(backend.url,)))
        connections = [pool.acquire() for _ in range(3)]
        for connection in connections:
            pool.release(connection, reusable=True)
            connection.used_at -= 31.0

        fresh = pool.acquire()
        pool.release(fresh, reusable=True)
        pool.release(pool.acquire(), reusable=True)

        assert [connection.sock.fileno() for connection in connections] == [-1, -1, -1]
        pool.close()
        assert fresh.sock.fileno() == -1

    def test_a_closed_pool_keeps_nothing(self, backend: Backend) -> None:
        pool = Pool(Upstream(urls=(backend.url,)))
        connection = pool.acquire()
        pool.close()
        pool.release(connection, reusable=True)

        assert connection.sock.fileno() == -1


class TestTheBound:
    def occupy(self, gateway: Gateway, backend: Backend) -> threading.Event:
        """Keep every connection busy until the event is set."""
        go_on = threading.Event()

        def script(peer: Peer) -> None:
            while True:
                backend.requests.append(peer.read_request())
                go_on.wait(5)
                peer.send(OK)

        backend.script = script
        for _ in range(CONNECTIONS):
            gateway.connect("narrow").send(GET)
        assert backend.wait_for(lambda: len(backend.requests) == CONNECTIONS)
        return go_on

    def test_one_more_waits_a_bounded_time_and_is_told_to_come_again(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        go_on = self.occupy(gateway, backend)
        started = time.monotonic()

        answer = gateway.get(proxy="narrow")

        assert 0.25 < time.monotonic() - started < 1
        assert answer.status == 503
        assert answer.values("Retry-After") == ["1"]
        assert b'"error": "service_unavailable"' in answer.body
        go_on.set()
        assert [client.read_answer().status for client in gateway.clients[:CONNECTIONS]] == (
            [200] * CONNECTIONS
        )
        assert gateway.get(proxy="narrow").status == 200
        assert len(backend.peers) == CONNECTIONS

    def test_one_more_is_served_as_soon_as_a_connection_is_free(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        go_on = self.occupy(gateway, backend)
        threading.Timer(0.1, go_on.set).start()

        assert gateway.get(proxy="narrow").status == 200

    def test_clients_that_go_away_leave_nothing_behind(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        go_on = self.occupy(gateway, backend)
        gateway.hang_up()
        time.sleep(0.65)
        go_on.set()
        backend.forget()

        backend.answers(OK)
        assert gateway.get(proxy="narrow").status == 200

    def test_failures_leave_nothing_behind(self, gateway: Gateway, backend: Backend) -> None:
        backend.answers(b"rubbish")
        for _ in range(3 * CONNECTIONS):
            assert gateway.get(proxy="narrow").status == 502

        backend.answers(OK)
        assert gateway.get(proxy="narrow").status == 200


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

        with pytest.raises(Exception, match=r"^$"):
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
        assert time.monotonic() - started < 1

    @pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200"], ids=["nothing", "half a line"])
    def test_a_backend_that_says_nothing_is_a_504_and_the_next_request_works(
        self, gateway: Gateway, backend: Backend, begun: bytes
    ) -> None:
        backend.stays_silent_after(begun)
        started = time.monotonic()

        answer = gateway.get(proxy="impatient")

        assert 0.25 < time.monotonic() - started < 0.8
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
        assert 0.35 < time.monotonic() - started < 0.9

    def test_the_total_time_bounds_the_wait_for_an_answer(
        self, gateway: Gateway, backend: Backend
    ) -> None:
        backend.stays_silent_after(b"")
        started = time.monotonic()

        assert gateway.get(proxy="total").status == 504
        assert 0.35 < time.monotonic() - started < 0.9
