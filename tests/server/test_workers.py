"""A worker that is killed or hangs is replaced."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from tests.support.serving import PATIENCE_SECONDS, Serve, until


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
