"""The standalone server: how it ends, takes over a new configuration, and replaces its workers."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from gunicorn.config import Config

from gateway.config.file import load_config
from gateway.server.standalone import CannotListen, StandaloneGateway, must_be_free
from tests.support import store
from tests.support.oauth_client import Browser, Client
from tests.support.processes import free_port
from tests.support.running_gateway import write_settings
from tests.support.serving import (
    PATIENCE_SECONDS,
    Served,
    answered,
    event_stream,
    serving,
    slow_backend,
    until,
)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with slow_backend(tmp_path_factory.mktemp("slow")) as url:
        yield url


Serve = Callable[..., AbstractContextManager[Served]]


@pytest.fixture
def serve(backend: str, tmp_path: Path) -> Serve:
    """Return how to run a gateway; its arguments are those of ``serving``."""
    return partial(serving, tmp_path, backend)


@pytest.fixture
def in_background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as executor:
        yield executor


# --- The end


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


# --- A new configuration


def test_no_request_is_lost_while_the_configuration_is_reloaded(
    serve: Serve, in_background: ThreadPoolExecutor
) -> None:
    """On kept-alive connections: an old worker says that it closes, and then it closes."""
    with serve(replace=(("workers = 1", "workers = 2"),)) as served:
        reloaded = Event()

        def ask() -> int:
            closed = 0
            connection = served.connect()
            after = 0
            while after < 5:
                after += reloaded.is_set()
                response = answered(connection, "/public/delay/20")
                assert response.status == 200
                closed += response.headers["Connection"] == "close"
            connection.close()
            return closed

        asking = [in_background.submit(ask) for _ in range(8)]
        try:
            for _ in range(4):
                served.reload()
        finally:
            reloaded.set()
        # Otherwise nothing was reloaded under them.
        assert sum(each.result() for each in asking) >= 8


def test_a_new_user_client_and_route_are_in_force_after_a_reload(serve: Serve) -> None:
    with serve() as served:
        kept_out = Browser(served.url).sign_in("nadia").status_code
        assert kept_out != 303
        assert served.get("/open/x").status == 401
        hashed = load_config(served.config).sign_in.users[0].password_hash
        served.edit(
            ('path = "/public/**"', 'path = "/open/**"'),
            extra=f"""
                [[sign_in.users]]
                name = "nadia"
                password_hash = "{hashed}"
                [[clients]]
                client_id = "newcomer"
                name = "A Newcomer"
                redirect_uris = ["https://newcomer.example/cb"]
                scopes = ["project"]
                pkce = "optional"
            """,
        )
        served.reload()
        assert served.get("/open/x").status == 200
        assert served.get("/public/x").status == 401
        browser = Browser(served.url)
        assert browser.sign_in("nadia").status_code == 303
        newcomer = "https://newcomer.example/cb"
        code = browser.code(client_id="newcomer", redirect_uri=newcomer)
        answer = Client(served.url, "newcomer", redirect_uri=newcomer).redeem(code)
        assert answer.status_code == 200


def test_what_a_removed_client_was_given_is_refused_after_a_reload(serve: Serve) -> None:
    with serve() as served:
        browser = Browser(served.url)
        assert browser.sign_in().status_code == 303
        client = Client(served.url)
        tokens = client.redeem(browser.code()).json()
        assert client.get("/x", tokens["access_token"]).status_code == 200
        served.edit(('client_id = "my-app"', 'client_id = "another-app"'))
        served.reload()
        assert client.get("/x", tokens["access_token"]).status_code == 401
        assert client.refresh(tokens["refresh_token"]).status_code == 401


def test_a_faulty_configuration_leaves_the_old_one_in_force_and_every_fault_is_logged(
    serve: Serve,
) -> None:
    with serve() as served:
        workers = served.workers()
        good = served.config.read_text()
        served.edit(("workers = 1", "worker = 1"), ("public = true", 'public = "yes"'))
        served.process.send_signal(signal.SIGHUP)
        until(lambda: served.logged("the new configuration cannot be used"))
        assert served.logged("[server] worker: unknown key")
        assert served.logged("public: must be true or false")
        assert served.get("/public/x").status == 200
        assert served.workers() == workers
        served.config.write_text(good)
        served.reload()
        assert served.get("/public/x").status == 200


def test_the_listener_moves_when_the_configuration_says_so(serve: Serve) -> None:
    with serve() as served:
        port = free_port()
        served.edit((f'listen = "127.0.0.1:{served.port}"', f'listen = "127.0.0.1:{port}"'))
        served.reload()
        assert served.get("/public/x", port).status == 200
        with pytest.raises(ConnectionRefusedError):
            served.get("/public/x")


def test_the_listener_stays_where_the_new_address_is_taken(serve: Serve) -> None:
    with serve() as served, socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        served.edit((f'listen = "127.0.0.1:{served.port}"', f'listen = "{address}"'))
        served.process.send_signal(signal.SIGHUP)
        until(lambda: served.logged(f"cannot listen on {address}: another program listens there"))
        assert served.get("/public/x").status == 200


def test_a_store_that_cannot_be_had_leaves_the_old_configuration_in_force(serve: Serve) -> None:
    with serve() as served:
        (served.config.parent / "file").write_text("no directory")
        served.edit((f'"{served.config.parent / "data"}"', '"file"'))
        served.process.send_signal(signal.SIGHUP)
        until(lambda: served.logged("store.data_dir cannot be used"))
        assert served.get("/public/x").status == 200
        assert served.get("/oauth/health").status == 200


def test_the_number_of_workers_follows_the_configuration(serve: Serve) -> None:
    with serve() as served:
        assert len(served.workers()) == 1
        served.edit(("workers = 1", "workers = 3"))
        served.reload()
        until(lambda: len(served.workers()) == 3)
        served.edit(("workers = 3", "workers = 1"))
        served.reload()
        until(lambda: len(served.workers()) == 1)
        assert served.get("/public/x").status == 200


def test_an_open_event_stream_goes_on_and_delays_no_reload_and_no_replacement(
    serve: Serve,
) -> None:
    with serve() as served, event_stream(served, 50) as stream:
        (first,) = served.workers()
        served.process.send_signal(signal.SIGHUP)
        until(lambda: len(served.workers()) == 2)
        second = served.workers()[1]
        # The stream's worker lives beside the new one, whose death is noticed all the same.
        until(lambda: served.get("/public/x").status == 200)
        os.kill(second, signal.SIGKILL)
        until(lambda: second not in served.workers() and len(served.workers()) == 2)
        assert served.get("/public/x").status == 200
        assert first in served.workers()
        assert b"data: event" in stream.recv(65_536)
        served.edit(('path = "/public/**"', 'path = "/open/**"'))
        served.process.send_signal(signal.SIGHUP)
        until(lambda: served.get("/public/x").status == 401)
        assert b"data: event" in stream.recv(65_536)


# --- Workers


def test_a_killed_worker_is_replaced_and_the_other_goes_on(serve: Serve) -> None:
    with serve(replace=(("workers = 1", "workers = 2"),)) as served:
        killed, other = served.workers()
        os.kill(killed, signal.SIGKILL)
        for _ in range(50):
            assert served.get("/public/x").status == 200
        until(lambda: len(served.workers()) == 2 and killed not in served.workers())
        assert other in served.workers()


def test_a_worker_that_does_not_move_is_replaced(serve: Serve) -> None:
    """The time after which it is replaced is no setting; here it is shorter."""
    with serve(
        "import gateway.server.standalone\ngateway.server.standalone._HEARTBEAT_SECONDS = 2"
    ) as served:
        (hung,) = served.workers()
        os.kill(hung, signal.SIGSTOP)
        until(lambda: hung not in served.workers() and served.workers())
        assert served.get("/public/x").status == 200


def test_a_client_that_takes_nothing_of_its_answer_is_given_up(serve: Serve) -> None:
    """The time after which it is given up is no setting; here it is shorter."""
    with serve("import gateway.server.worker\ngateway.server.worker.SEND_SECONDS = 0.5") as served:
        with socket.create_connection(("127.0.0.1", served.port), PATIENCE_SECONDS) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(b"GET /public/bytes/50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            worker = served.workers()[0]
            until(lambda: _connections(worker) == 0)
        assert served.get("/public/x").status == 200


def _connections(pid: int) -> int:
    """Count the connections that a process has with a client of the gateway."""
    inodes = {
        target.removeprefix("socket:[").removesuffix("]")
        for file in Path(f"/proc/{pid}/fd").iterdir()
        if (target := str(file.readlink() if file.is_symlink() else "")).startswith("socket:[")
    }
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(fields[9] in inodes and fields[3] == "01" for fields in lines)


# --- More connections than there may be


def test_more_clients_than_connections_wait_for_their_turn(
    serve: Serve, in_background: ThreadPoolExecutor
) -> None:
    with serve(replace=(("workers = 1", "workers = 1\nconnections = 3"),)) as served:
        targets = ["/public/delay/100"] * 24
        answers = list(in_background.map(served.get, targets))
        assert [answer.status for answer in answers] == [200] * 24


def test_kept_alive_connections_make_room_for_others(serve: Serve) -> None:
    with serve(replace=(("workers = 1", "workers = 1\nconnections = 2"),)) as served:
        silent = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(2)]
        assert served.get("/public/x").status == 200
        for each in silent:
            each.close()


def test_a_busy_kept_alive_connection_takes_turns_with_others(
    serve: Serve, in_background: ThreadPoolExecutor
) -> None:
    with serve(replace=(("workers = 1", "workers = 1\nconnections = 1"),)) as served:
        enough = Event()

        def keep_asking() -> None:
            connection = served.connect()
            while not enough.is_set():
                assert answered(connection, "/public/delay/10").status == 200
            connection.close()

        asking = in_background.submit(keep_asking)
        try:
            for _ in range(3):
                assert served.get("/public/x").status == 200
        finally:
            enough.set()
        asking.result()


# --- What the machine allows


def test_the_limit_of_open_files_is_raised_for_the_configured_connections(serve: Serve) -> None:
    _, hard = _files_allowed(os.getpid())
    if hard < 3000:
        pytest.skip(f"the hard limit of open files is {hard}")
    with serve(limits="-Sn 256") as served:
        (worker,) = served.workers()
        assert _files_allowed(worker)[0] >= 2000
        assert served.logged("the limit of open files is raised from 256 to")


def test_connections_that_the_machine_does_not_allow_are_said(serve: Serve) -> None:
    with serve(limits="-Sn 512; ulimit -Hn 512") as served:
        assert served.logged("a worker may have 512 files open, but server.connections = 1000")


def _files_allowed(pid: int) -> tuple[int, int]:
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max open files")
    )
    soft, hard = line.split()[3:5]
    return int(soft), int(hard)


def test_an_address_that_cannot_be_had_is_said_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen, match="another program listens there"):
            must_be_free(address)
    (tmp_path / "file").write_text("")
    for address, why in (
        (f"unix:{tmp_path}/absent/socket", "No such file or directory"),
        (f"unix:{tmp_path}/file", "the path is taken"),
        ("name.invalid:80", "not known|resolution"),
    ):
        with pytest.raises(CannotListen, match=why):
            must_be_free(address)
    must_be_free(f"unix:{tmp_path}/socket")


# --- The parser in front


def test_no_leniency_of_the_http_parser_is_on(tmp_path: Path) -> None:
    """What gunicorn is told differs from its defaults only where that makes it stricter."""
    config = write_settings(tmp_path, port=free_port())
    chosen = StandaloneGateway(lambda: load_config(config)).cfg
    default = Config()
    lenient = [
        name
        for name in default.settings
        if name.startswith(("permit_", "strip_", "casefold_", "tolerate_"))
    ]
    assert len(lenient) >= 5
    for name in lenient:
        assert chosen.settings[name].get() is False, name
    assert chosen.header_map == "drop"
    assert chosen.http_parser == "python"
    assert chosen.proxy_protocol == "off"
    assert not chosen.forwarded_allow_ips
    assert not chosen.secure_scheme_headers
    assert not chosen.forwarder_headers
    assert "h2" not in chosen.http_protocols


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nName : y\r\n\r\n", id="space"),
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", id="folding"),
        pytest.param(b"GET /public/x HTTP/1.1\nHost: x\n\n", id="bare line feeds"),
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", id="bare return"),
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", id="NUL"),
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /public/x HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"get /public/x HTTP/1.1\r\nHost: x\r\n\r\n", id="small letters"),
        pytest.param(b"GET /public/x HTTP/3.7\r\nHost: x\r\n\r\n", id="version"),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two framings",
        ),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            b"Content-Length: 5\r\n\r\nabcde",
            id="two lengths",
        ),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd", id="sign"
        ),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0x1\r\na\r\n0\r\n\r\n",
            id="chunk size",
        ),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            id="no chunks",
        ),
    ],
)
def test_a_malformed_request_is_refused_and_its_connection_closed(
    standalone: Any, request_bytes: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", standalone.port), PATIENCE_SECONDS) as client:
        # What follows must not be taken for a second request.
        client.sendall(request_bytes + b"GET /public/y HTTP/1.1\r\nHost: x\r\n\r\n")
        response = HTTPResponse(client)
        response.begin()
        assert response.status in {400, 501}
        response.read()
        try:
            rest = client.recv(65_536)
        except ConnectionError:
            rest = b""
        assert rest == b""
