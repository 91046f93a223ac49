"""How long it may take to open a connection: to find the address, to be let in, and TLS."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from gateway.config.settings import Store
from gateway.store.redis_client import RedisClient, StoreUnavailable
from tests.faults.proxy import Faults, proxied
from tests.faults.site import LIMIT, site, timed
from tests.faults.tls import Authority, TlsServer, skip_without_tls, tls_lines
from tests.faults.topologies import Server, sentinel


def _seconds_of_a_refusal(link: RedisClient) -> float:
    started = monotonic()
    link.start_request_budget()
    with pytest.raises(StoreUnavailable):
        link.command("GET", "x")
    return monotonic() - started


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The addresses of names; the resolver does not answer for a name whose value is ``None``."""
    found: dict[str, Any] = {}
    ended = threading.Event()
    resolve = socket.getaddrinfo

    def resolved(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host not in found:
            return resolve(host, port, *arguments, **options)
        if found[host] is None:
            ended.wait(30)
        times = found[host] or 1
        return resolve("127.0.0.1", port, *arguments, **options) * times

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    yield found
    ended.set()


def test_a_name_that_is_not_resolved_holds_nobody_up(node: Server, names: dict[str, Any]) -> None:
    names["store.example"] = None
    link = RedisClient(Store(url=f"redis://store.example:{node.port}"))
    assert _seconds_of_a_refusal(link) < LIMIT
    names["store.example"] = 1
    link.start_request_budget()
    assert link.command("PING") == "PONG"
    link.close()


def test_a_name_with_many_silent_addresses_takes_no_longer_than_one(
    node: Server, names: dict[str, Any]
) -> None:
    names["store.example"] = 8
    with proxied(node.port) as way:
        way.black_hole()
        link = RedisClient(Store(url=f"redis://store.example:{way.port}"))
        assert _seconds_of_a_refusal(link) < LIMIT
        way.heal()
        link.start_request_budget()
        assert link.command("PING") == "PONG"
        link.close()


def test_a_handshake_that_trickles_in_holds_nobody_up(folder: Path) -> None:
    """With greenlets, whose TLS has a time limit for each of its steps."""
    skip_without_tls()
    authority = Authority(folder, "trickling-ca")
    certificate, key = authority.sign("127.0.0.1")
    server = TlsServer(folder / "trickling", (str(certificate), str(key), str(authority.file)))
    server.start()
    try:
        with proxied(server.port) as way:
            url = f"rediss://127.0.0.1:{way.port}"
            with site("standalone", folder / "tls", url, store=tls_lines(authority)) as found:
                tokens = found.tokens()
                way.faults = Faults(seconds_a_byte=0.02)
                way.cut()
                answer = timed(partial(found.use, tokens.access))
                assert answer.is_unavailable
                assert answer.seconds < LIMIT
                way.heal()
                assert found.works(tokens.access)
    finally:
        server.kill()


def test_sentinels_may_have_a_login_of_their_own(folder: Path) -> None:
    with sentinel(folder / "with-login") as servers:
        (watching,) = servers.sentinels
        watching.ask("ACL", "SETUSER", "watcher", "on", ">pass word", "~*", "&*", "+@all")
        watching.ask("ACL", "SETUSER", "default", "off")
        for user, password, is_let_in in (
            ("watcher", "pass word", True),
            ("watcher", "wrong", False),
            ("", "", False),
        ):
            settings = Store(url=servers.url, sentinel_user=user, sentinel_password=password)
            link = RedisClient(settings)
            if is_let_in:
                link.start_request_budget()
                assert link.command("SET", "gateway:x", "1") == "OK"
            else:
                assert _seconds_of_a_refusal(link) < LIMIT
            link.close()
