"""Measures many requests at once: slow ones, event streams that stay open, and sign-ins.

    python bench/concurrency.py [--quick]       about a minute; with --quick a third of one

One gateway with two workers runs in front of a backend that takes any number of requests and does
almost nothing for them. Needs Linux.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import socket
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.load import Load, measure, request
from bench.stand import Stand, Target
from tests.support.oauth_client import Browser
from tests.support.processes import free_port, python_module

WORKERS = 2
SLOW_CLIENTS = 500
SLOW_SECONDS = 0.2
STREAMS = 2_000
SIGN_INS_AT_ONCE = 4
#: The other requests leave the machine idle most of the time: they show how long a request has to
#: wait for others, not how many requests are possible.
OTHERS = 20
OTHERS_PAUSE = 0.1

# One worker may get nearly all connections, and then opens as many to the backend.
_CONNECTIONS = STREAMS + SLOW_CLIENTS


@dataclass(frozen=True)
class Times:
    """How long to measure, in seconds."""

    warm_up: float
    seconds: float


THOROUGH = Times(warm_up=2.0, seconds=8.0)
QUICK = Times(warm_up=1.0, seconds=2.0)


def main() -> None:
    """Measure, and print tables as Markdown."""
    parser = argparse.ArgumentParser(description="Measure the gateway with many requests at once.")
    parser.add_argument(
        "--quick", action="store_true", help="a short test run; its figures mean nothing"
    )
    times = QUICK if parser.parse_args().quick else THOROUGH
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {WORKERS} workers")
    with ExitStack() as stack:
        stand = Stand(stack, WORKERS)
        backend = free_port()
        command = python_module("tests.support.slow_backend", str(backend))
        stand.run(command, stand.folder(), backend, "/")
        gateway = stand.gateway(
            backend,
            ("[upstream]", f"[upstream]\nconnections = {_CONNECTIONS}"),
            ("workers = ", f"connections = {_CONNECTIONS}\nworkers = "),
        )
        _slow(backend, gateway, times)
        _others(gateway, times)


def _slow(backend: int, gateway: Target, times: Times) -> None:
    ideal = SLOW_CLIENTS / SLOW_SECONDS
    path = f"/delay/{SLOW_SECONDS * 1000:.0f}"
    print(
        f"\n### {SLOW_CLIENTS} clients, a backend that takes {SLOW_SECONDS * 1000:.0f} ms\n\n"
        f"Without anything in between, {ideal:,.0f} requests a second are possible.\n\n"
        f"| what | requests/s | of the ideal | p50 ms | p99 ms | errors |\n| --- |{' ---: |' * 5}"
    )
    for name, port, message in (
        ("the backend alone", backend, request(path)),
        ("through the gateway", gateway.port, gateway.message(path)),
    ):
        load = measure(
            port,
            message,
            connections=SLOW_CLIENTS,
            seconds=times.seconds,
            warm_up=times.warm_up,
        )
        print(
            f"| {name} | {load.per_second:,.0f} | {load.per_second / ideal:.2f}"
            f" | {load.p50_ms:.0f} | {load.p99_ms:.0f} | {load.errors} |",
            flush=True,
        )


def _others(gateway: Target, times: Times) -> None:
    server = gateway.servers["gateway"]
    print(
        f"\n### Other requests, {OTHERS / OTHERS_PAUSE:.0f} a second at most, meanwhile\n\n"
        f"| meanwhile | requests/s | p50 ms | p99 ms | errors |\n| --- |{' ---: |' * 4}"
    )
    _row("nothing", _measure_others(gateway, times))
    load, signed_in = _with_sign_ins(gateway, times)
    _row(f"{signed_in:.0f} sign-ins a second, {SIGN_INS_AT_ONCE} at once", load)
    before = server.resident_bytes()
    with ExitStack() as stack:
        streams = _Streams(stack, gateway, STREAMS)
        growth = server.resident_bytes() - before
        _row(f"{STREAMS:,} idle event streams", _measure_others(gateway, times))
        load, signed_in = _with_sign_ins(gateway, times)
        _row(f"both, with {signed_in:.0f} sign-ins a second", load)
        lost = streams.lost()
        print(
            f"\nOf the {STREAMS:,} streams {lost} were lost. One takes"
            f" {growth / STREAMS / 1024:.0f} KiB of the gateway's memory, which is"
            f" {server.resident_bytes() / 1e6:.0f} MB with all of them."
        )


def _measure_others(gateway: Target, times: Times) -> Load:
    return measure(
        gateway.port,
        gateway.message("/at-once"),
        connections=OTHERS,
        seconds=times.seconds,
        warm_up=times.warm_up,
        pause=OTHERS_PAUSE,
    )


def _row(name: str, load: Load) -> None:
    print(
        f"| {name} | {load.per_second:,.0f} | {load.p50_ms:.2f} | {load.p99_ms:.2f}"
        f" | {load.errors} |",
        flush=True,
    )


class _Streams:
    """Open event streams that send one event and then nothing."""

    def __init__(self, stack: ExitStack, gateway: Target, count: int) -> None:
        message = gateway.message("/events/0")
        self._socks = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), 20))
            sock.sendall(message)
            self._socks.append(sock)
        for sock in self._socks:
            received = b""
            while b"data: event" not in received:
                data = sock.recv(4096)
                assert data, f"a stream ended: {received!r}"
                received += data

    def lost(self) -> int:
        """Return how many streams ended, or sent another event."""
        lost = 0
        for sock in self._socks:
            sock.setblocking(False)
            try:
                sock.recv(1)
            except BlockingIOError:
                continue
            except OSError:
                pass
            lost += 1
        return lost


def _with_sign_ins(gateway: Target, times: Times) -> tuple[Load, float]:
    """Measure while users sign in; return the load, and the sign-ins a second."""
    seconds = times.warm_up + times.seconds
    # The sign-ins run in their own process, so that the load generator does not wait for them.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        sign_ins = executor.submit(_sign_in_for, gateway.port, seconds)
        load = _measure_others(gateway, times)
        return load, sign_ins.result() / seconds


def _sign_in_for(port: int, seconds: float) -> int:
    deadline = time.monotonic() + seconds

    def sign_in_repeatedly(_: int) -> int:
        count = 0
        while time.monotonic() < deadline:
            browser = Browser(f"http://127.0.0.1:{port}")
            with browser.session:
                response = browser.sign_in()
            assert response.status_code == 303, response.status_code
            count += 1
        return count

    with ThreadPoolExecutor(SIGN_INS_AT_ONCE) as executor:
        return sum(executor.map(sign_in_repeatedly, range(SIGN_INS_AT_ONCE)))


if __name__ == "__main__":
    main()
