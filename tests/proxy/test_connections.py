"""The pool: which connections are kept, what is sent again, and how many there may be."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from gateway.config.settings import Upstream
from gateway.proxy.http1 import Exchange, StaleConnectionError
from gateway.proxy.upstream import Pool

from .conftest import CONNECTIONS, Gateway
from .wire import GET, OK, POST, Backend, Peer


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

        # The wait for a new connection is 5 seconds, where nothing is set.
        assert 0.25 < time.monotonic() - started < 4
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
