"""A new configuration is taken over while requests are served, or the old one stays in force."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from gateway.config.file import load_config
from tests.support.oauth_client import Browser, Client
from tests.support.processes import free_port
from tests.support.serving import Serve, answered, event_stream, until


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
