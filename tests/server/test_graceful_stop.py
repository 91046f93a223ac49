"""A server that is told to end answers every request that it took, and then ends."""

from __future__ import annotations

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from tests.support import store
from tests.support.serving import PATIENCE_SECONDS, Serve, answered, event_stream, until


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_request_in_flight_is_answered_when_the_server_is_told_to_end(
    serve: Serve, in_background: ThreadPoolExecutor
) -> None:
    with serve() as served:
        answer = in_background.submit(served.get, "/public/delay/700")
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        assert answer.result().status == 200
        assert answer.result().headers["Connection"] == "close"
        assert served.process.wait(PATIENCE_SECONDS) == 0


def test_new_connections_are_refused_while_the_last_request_is_answered(
    serve: Serve, in_background: ThreadPoolExecutor
) -> None:
    with serve() as served:
        answer = in_background.submit(served.get, "/public/delay/3000")
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        refused = False
        while not (refused or answer.done()):
            try:
                served.get("/public/x")
            except ConnectionError:
                refused = True
        assert refused
        assert not answer.done()
        assert answer.result().status == 200


def test_who_connected_before_the_end_is_answered_though_nobody_had_accepted_it(
    serve: Serve,
) -> None:
    """Closing a listener resets the connections that wait at it."""
    with serve(replace=(("workers = 1", "workers = 2"),)) as served:
        workers = served.workers()
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        waiting = [served.connect() for _ in range(20)]
        for connection in waiting:
            connection.request("GET", "/public/x")
        served.process.send_signal(signal.SIGTERM)
        # For the master to tell them.
        time.sleep(0.3)
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        for connection in waiting:
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
            connection.close()
        assert served.process.wait(PATIENCE_SECONDS) == 0


def test_a_worker_that_has_no_files_left_still_answers_what_it_began(
    serve: Serve, in_background: ThreadPoolExecutor
) -> None:
    with serve(limits="-Sn 100; ulimit -Hn 100") as served:
        answer = in_background.submit(served.get, "/public/delay/1500")
        time.sleep(0.3)
        others = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(120)]
        time.sleep(0.3)
        served.process.send_signal(signal.SIGTERM)
        assert answer.result().status == 200
        assert served.process.wait(PATIENCE_SECONDS) == 0
        for other in others:
            other.close()


def test_kept_alive_connections_do_not_hold_up_the_end(serve: Serve) -> None:
    """They may wait for more than a minute otherwise."""
    with serve() as served:
        idle = [served.connect() for _ in range(10)]
        for connection in idle:
            assert answered(connection, "/public/x").headers["Connection"] == "keep-alive"
        silent = socket.create_connection(("127.0.0.1", served.port))
        begun = socket.create_connection(("127.0.0.1", served.port))
        begun.sendall(b"GET /public/x HTTP/1.1\r\nHost:")
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE_SECONDS) == 0
        for connection in idle:
            # A clean end, and no reset.
            assert connection.sock.recv(1) == b""
            connection.close()
        assert silent.recv(1) == b""
        silent.close()
        begun.close()


def test_an_event_stream_is_cut_off_after_the_configured_time(serve: Serve) -> None:
    with serve(replace=(("workers = 1", "workers = 1\ngraceful_seconds = 1"),)) as served:
        with event_stream(served) as stream:
            served.process.send_signal(signal.SIGTERM)
            received = b"".join(iter(lambda: stream.recv(65_536), b""))
        # Without the last chunk it does not look whole.
        assert not received.endswith(b"0\r\n\r\n")
        assert served.process.wait(PATIENCE_SECONDS) == 0
        assert served.logged("1 connections are cut off")


def test_the_embedded_store_ends_with_the_server(serve: Serve) -> None:
    with serve() as served:
        with store.embedded(served.config.parent / "data") as redis:
            pid = redis.info("server")["process_id"]
        assert _is_alive(pid)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(PATIENCE_SECONDS) == 0
        until(lambda: not _is_alive(pid))
