"""Measures the gateway against the application it protects, in one run, as ratios.

    make bench

It starts everything on loopback: a private store, and the same small application three times under
the same server (gunicorn, one gevent worker): bare, wrapped in the gateway, and behind the gateway
as a proxy. The absolute figures are this machine's: quote the ratios.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.load import Load, measure, request
from tests.support.oauth_client import Browser, Client, answer_of, authorization
from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import write_settings

EXCHANGES = 200


def main() -> None:
    """Measure, and print the tables as Markdown."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        bare = _server(stack, folder, "bare", "bench.applications:bare")
        config = write_settings(
            folder,
            port=(wrapped := free_port()),
            upstream=f"http://127.0.0.1:{bare}",
            replace=(("[audit]", "[audit]\nrequests = false"),),
        )
        os.environ["GATEWAY_CONFIG"] = str(config)
        _server(stack, folder, "wrapped", "bench.applications:wrapped", wrapped)
        proxied = _server(stack, folder, "proxied", "bench.applications:proxied")
        store = redis.Redis(unix_socket_path=str(_socket(folder / "data")))

        gateway = f"http://127.0.0.1:{wrapped}"
        client = Client(gateway)
        browser = Browser(gateway)
        assert browser.sign_in().status_code == 303
        browser.code()
        tokens = client.redeem(browser.code()).json()
        with_token = request("/small", tokens["access_token"])

        loads = {
            "bare application": measure(bare, request("/small")),
            "wrapped, valid token": measure(wrapped, with_token),
            "proxied, valid token": measure(proxied, with_token),
            "wrapped, public route": measure(wrapped, request("/public/small")),
            "proxied, public route": measure(proxied, request("/public/small")),
        }
        _print_loads(loads)
        _print_operations(store, browser, client, tokens["access_token"])


def _server(stack: ExitStack, folder: Path, name: str, app: str, port: int | None = None) -> int:
    port = port or free_port()
    command = [
        *python_module("gunicorn", "--worker-class", "gevent", "--bind", f"127.0.0.1:{port}"),
        *("--no-control-socket", app),
    ]
    ready = f"http://127.0.0.1:{port}/{'small' if name == 'bare' else 'oauth/health'}"
    stack.enter_context(running(command, log=folder / f"{name}.log", ready=ready))
    return port


def _socket(data_dir: Path) -> Path:
    (socket,) = (path for path in data_dir.iterdir() if path.is_socket())
    return socket


def _print_loads(loads: dict[str, Load]) -> None:
    bare = loads["bare application"].per_second
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, 8 connections\n")
    print("| what | requests/s | of bare | p50 ms | p99 ms | errors |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, load in loads.items():
        print(
            f"| {name} | {load.per_second:,.0f} | {load.per_second / bare:.2f}"
            f" | {load.p50_ms:.1f} | {load.p99_ms:.1f} | {load.errors} |"
        )
    hop = loads["wrapped, valid token"].per_second / loads["proxied, valid token"].per_second
    print(f"\nThe hop itself: a proxied request costs {hop:.2f} times a wrapped one.")


def _print_operations(
    store: redis.Redis, browser: Browser, client: Client, access_token: str
) -> None:
    codes = [browser.code() for _ in range(3)]
    print("\n| operation | commands to Redis |")
    print("| --- | ---: |")
    refresh_token = ""

    def exchange() -> None:
        nonlocal refresh_token
        refresh_token = client.redeem(codes.pop()).json()["refresh_token"]

    def refresh() -> None:
        client.refresh(refresh_token)

    def validate() -> None:
        client.get("/small", access_token)

    def authorize() -> None:
        answer_of(browser.authorize(**authorization()))

    for name, operation in (
        ("forwarded request", validate),
        ("code exchange", exchange),
        ("refresh", refresh),
        ("authorization, signed in and remembered", authorize),
    ):
        operation()  # the first call also writes what is written once a minute
        print(f"| {name} | {_commands(store, operation)} |")

    started = time.perf_counter()
    for _ in range(EXCHANGES):
        client.redeem(browser.code())
    seconds = time.perf_counter() - started
    print(
        f"\nFull authorize-to-token exchanges, one client, each with a new connection for the"
        f" token request: {EXCHANGES / seconds:,.0f} a second."
    )


def _commands(store: redis.Redis, operation: Callable[[], object]) -> int:
    """Count with MONITOR the commands that ``operation`` makes the gateway send."""
    with _monitor(store) as seen:
        operation()
    return len(seen)


@contextmanager
def _monitor(store: redis.Redis) -> Iterator[list[str]]:
    """Collect the commands that the server gets inside the ``with``."""
    seen: list[str] = []
    ended = threading.Event()
    # This connection is open already: the first commands of a new one would be counted.
    with store.client() as end, store.monitor() as monitor:
        end.ping()

        def listen() -> None:
            for each in monitor.listen():
                if each["command"] == "ECHO ended":
                    break
                # A command inside a script is no round trip.
                if each["client_type"] != "lua" and each["command"] != "PING":
                    seen.append(each["command"])
            ended.set()

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        yield seen
        end.echo("ended")
        ended.wait(5)


if __name__ == "__main__":
    main()
