"""A standalone gateway that a test reloads, ends, and looks into from outside."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import write_settings

PATIENCE_SECONDS = 15.0


@dataclass(frozen=True)
class Served:
    """A standalone gateway in front of the slow backend."""

    process: subprocess.Popen[bytes]
    port: int
    config: Path
    log: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def connect(self, port: int | None = None) -> HTTPConnection:
        """Return a connection that is kept alive; what breaks it off raises."""
        return HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE_SECONDS)

    def get(self, target: str, port: int | None = None) -> HTTPResponse:
        """Send a request on a connection of its own and read the answer."""
        connection = self.connect(port)
        try:
            return answered(connection, target)
        finally:
            connection.close()

    def workers(self) -> list[int]:
        """Return the processes that serve, the oldest first."""
        return sorted(_children(self.process.pid))

    def edit(self, *replacements: tuple[str, str], extra: str = "") -> None:
        """Change the configuration file."""
        text = self.config.read_text()
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        self.config.write_text(text + extra)

    def reload(self) -> None:
        """Have the configuration file read again, and wait until new workers have begun."""
        before = set(self.workers())
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.workers() and not before.intersection(self.workers()))

    def logged(self, words: str) -> bool:
        """Tell whether the log has these words."""
        return words in self.log.read_text()


#: How a test runs a gateway whose folder and backend are chosen already.
Serve = Callable[..., AbstractContextManager[Served]]


def answered(connection: HTTPConnection, target: str) -> HTTPResponse:
    """Send a GET and read the answer."""
    connection.request("GET", target)
    response = connection.getresponse()
    response.read()
    return response


def _children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in found.read_text().split()] if found.exists() else []


def until(done: Callable[[], object]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


@contextmanager
def slow_backend(folder: Path) -> Iterator[str]:
    """Run the backend that takes its time; give its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = folder / "backend.log"
    with running(python_module("tests.support.slow_backend", str(port)), log=log, ready=url):
        yield url


@contextmanager
def serving(
    folder: Path, backend: str, patches: str = "", limits: str = "", **settings: Any
) -> Iterator[Served]:
    """Run a gateway: settings are those of ``write_settings``.

    ``patches`` are statements that run first, where a test needs what no key sets; ``limits``
    are words of a shell's ulimit.
    """
    port = free_port()
    config = write_settings(folder, port=port, upstream=backend, **settings)
    command = python_module("gateway", "serve", "--config", str(config))
    if patches:
        script = f"{patches}\nfrom gateway.cli.commands import main\nmain()"
        command = [sys.executable, "-c", script, "serve", "--config", str(config)]
    if limits:
        command = ["sh", "-c", f"ulimit {limits}; exec {shlex.join(command)}"]
    log = folder / "gateway.log"
    with running(command, log=log, ready=f"http://127.0.0.1:{port}/oauth/health") as process:
        yield Served(process, port, config, log)


@contextmanager
def event_stream(served: Served, every: int = 0) -> Iterator[socket.socket]:
    """Open an event stream that has begun, with an event each ``every`` milliseconds."""
    with socket.create_connection(("127.0.0.1", served.port), PATIENCE_SECONDS) as stream:
        stream.sendall(b"GET /public/events/%d HTTP/1.1\r\nHost: x\r\n\r\n" % every)
        received = b""
        while b"data: event" not in received:
            received += stream.recv(65_536)
        yield stream
