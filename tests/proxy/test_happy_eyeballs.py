"""A name with several addresses costs no time when some of them do not answer (RFC 8305)."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.config.settings import Upstream
from gateway.proxy.happy_eyeballs import SocketAddress, addresses_of, connect_to_any
from gateway.proxy.upstream import ConnectFailedError, ConnectTimeoutError, Pool

#: Much more than the delay between two attempts, and less than any time limit here.
SOON_SECONDS = 2.0
LIMIT_SECONDS = 5.0


@contextmanager
def swallowing(host: str, port: int = 0) -> Iterator[int]:
    """Run an address that answers to no connection: its queue is full. Give its port."""
    with socket.socket() as listener, ExitStack() as stack:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


@contextmanager
def accepting(host: str, port: int = 0) -> Iterator[socket.socket]:
    with socket.create_server((host, port)) as listener:
        yield listener


def at(host: str, port: int) -> SocketAddress:
    return SocketAddress(socket.AF_INET, socket.SOCK_STREAM, 0, (host, port))


@pytest.fixture
def half_dead() -> Iterator[int]:
    """A port at which 127.0.0.1 swallows packets and 127.0.0.2 accepts."""
    with accepting("127.0.0.2") as good, swallowing("127.0.0.1", good.getsockname()[1]) as port:
        yield port


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that this test makes up, and their addresses."""
    names: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return [info for each in names.get(host, [host]) for info in real(each, port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


def pool_for(*urls: str) -> Pool:
    return Pool(Upstream(urls=urls, connect_timeout=LIMIT_SECONDS))


def seconds_to_connect(pool: Pool) -> float:
    started = time.monotonic()
    pool.release(pool.acquire(), reusable=False)
    return time.monotonic() - started


def test_an_address_that_swallows_packets_costs_less_than_a_second(
    half_dead: int, resolved: dict[str, list[str]]
) -> None:
    resolved["two.example"] = ["127.0.0.1", "127.0.0.2"]
    pool = pool_for(f"http://two.example:{half_dead}")

    first = seconds_to_connect(pool)
    others = [seconds_to_connect(pool) for _ in range(5)]

    assert 0.2 < first < SOON_SECONDS
    # These begin at the address that was good. Five delays would be 1.25 s.
    assert min(others) < 0.2


def test_an_address_that_refuses_costs_nothing(resolved: dict[str, list[str]]) -> None:
    resolved["two.example"] = ["127.0.0.1", "127.0.0.2"]
    with accepting("127.0.0.2") as good:
        pool = pool_for(f"http://two.example:{good.getsockname()[1]}")

        assert seconds_to_connect(pool) < SOON_SECONDS


def test_the_good_address_is_left_when_it_dies(resolved: dict[str, list[str]]) -> None:
    resolved["two.example"] = ["127.0.0.1", "127.0.0.2"]
    with accepting("127.0.0.1") as first:
        port = first.getsockname()[1]
        pool = pool_for(f"http://two.example:{port}")
        assert seconds_to_connect(pool) < SOON_SECONDS
        first.close()
        with swallowing("127.0.0.1", port), accepting("127.0.0.2", port):
            assert seconds_to_connect(pool) < SOON_SECONDS


def test_a_name_whose_addresses_all_swallow_packets_is_given_up_in_time() -> None:
    with swallowing("127.0.0.1") as first, swallowing("127.0.0.2") as second:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            connect_to_any([at("127.0.0.1", first), at("127.0.0.2", second)], 0.6)

        assert 0.5 < time.monotonic() - started < SOON_SECONDS


def test_a_name_whose_addresses_all_refuse_says_so(resolved: dict[str, list[str]]) -> None:
    resolved["two.example"] = ["127.0.0.1", "127.0.0.2"]
    with accepting("127.0.0.1") as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ConnectFailedError):
        pool_for(f"http://two.example:{port}").acquire()


def test_of_two_urls_one_that_swallows_packets_costs_little(half_dead: int) -> None:
    pool = pool_for(f"http://127.0.0.1:{half_dead}", f"http://127.0.0.2:{half_dead}")

    assert max(seconds_to_connect(pool) for _ in range(3)) < SOON_SECONDS


def test_the_last_url_has_the_whole_time(half_dead: int) -> None:
    pool = Pool(Upstream(urls=(f"http://127.0.0.1:{half_dead}",), connect_timeout=1.0))
    started = time.monotonic()

    with pytest.raises(ConnectTimeoutError):
        pool.acquire()

    assert 0.9 < time.monotonic() - started < 1.0 + SOON_SECONDS


def test_the_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8305 §4: a whole family may be unreachable."""
    found = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 80, 0, 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::2", 80, 0, 0)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::3", 80, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    hosts = [address.sockaddr[0] for address in addresses_of("name.example", 80)]

    assert hosts == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "2001:db8::3"]


def test_other_greenlets_run_while_one_connects(half_dead: int) -> None:
    """The same code under gevent, in a process of its own."""
    script = f"""
from gevent import monkey, spawn, sleep
monkey.patch_all()
import socket
from gateway.proxy.happy_eyeballs import SocketAddress, connect_to_any
ticks = []
def tick():
    while True:
        ticks.append(1)
        sleep(0.01)
ticking = spawn(tick)
addresses = [
    SocketAddress(socket.AF_INET, socket.SOCK_STREAM, 0, (host, {half_dead}))
    for host in ("127.0.0.1", "127.0.0.2")
]
sock, address = connect_to_any(addresses, 5)
assert sock.getpeername()[0] == "127.0.0.2" == address.sockaddr[0]
assert len(ticks) > 5, len(ticks)
"""
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        env=dict(os.environ),
        check=True,
        timeout=30,
    )
