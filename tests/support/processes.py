"""Servers for tests: on loopback, on free ports, ended by process id."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_START_SECONDS = 20.0


def _own_ports() -> Iterator[int]:
    # Below those that the system gives to outgoing connections, and for each worker of a
    # parallel run others: nobody takes a port between its choice here and its server's start.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 10_000 + worker % 20 * 1_000
    ports = list(range(first, first + 1_000))
    start = random.randrange(len(ports))
    return cycle(ports[start:] + ports[:start])


_ports = _own_ports()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at the moment."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no end of ports")


@contextmanager
def running(
    command: Sequence[str],
    *,
    log: Path,
    ready: str,
    environ: Mapping[str, str] | None = None,
    any_status: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; wait until the URL ``ready`` answers 200.

    With ``any_status`` any answer will do. What the server prints goes to ``log``.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
        )
    try:
        wait_until_ready(process, ready, log, any_status=any_status)
        yield process
    finally:
        end(process)


def wait_until_ready(
    process: subprocess.Popen[bytes], url: str, log: Path, *, any_status: bool = False
) -> None:
    """Wait until ``url`` answers; raise with the server's log if it ends or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except urllib.error.HTTPError:
            if any_status:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} is not ready:\n{log.read_text(errors='replace')}")


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process kindly, then firmly."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def python_module(*words: str) -> list[str]:
    """Return the command that runs a module under this very interpreter."""
    return [sys.executable, "-m", *words]
