"""More clients than connections wait for their turn, within what the machine allows."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.support.serving import Serve, answered

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


def test_a_connection_is_kept_for_as_long_as_the_operator_says(serve: Serve) -> None:
    """Load balancers keep theirs for a minute, or for ten; they should close first."""
    with serve(replace=(("workers = 1", "workers = 1\nkeep_alive_seconds = 2"),)) as served:
        connection = served.connect()
        started = time.monotonic()
        for _ in range(2):
            assert answered(connection, "/public/x").status == 200
            time.sleep(1.0)
        assert connection.sock is not None
        assert connection.sock.recv(1) == b""
        assert 2.0 < time.monotonic() - started < 8.0
        connection.close()


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
