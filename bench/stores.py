"""Measures what the store's topology costs, and what the time limits and the circuit do.

    python bench/stores.py

One node, a primary behind Sentinel with a replica, and a cluster of three primaries, all on
loopback, all in one run and in turns; the gateway's own store code asks them, without HTTP.
"""

from __future__ import annotations

import logging
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest.mock import patch

from redis.connection import Connection

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.config.settings import Store, Tokens
from gateway.store.circuit import Circuit
from gateway.store.deadline_connection import DeadlineConnection
from gateway.store.redis_client import RedisClient
from gateway.token_store import TokenStore
from gateway.tokens.grant import CodeBinding, Grant, Issued, RefreshCandidate
from gateway.tokens.token import Kind, Token, TokenKeys, new_grant_id
from tests.faults.topologies import Server, cluster, one_node, sentinel

KEYS = TokenKeys((b"k" * 32,))
GRANTS = 200
ROUNDS = 7
THREADS = 8
CHALLENGE = "c" * 43
URI = "https://app.example/cb"


@dataclass
class Stand:
    """A topology with grants in it."""

    name: str
    redis: RedisClient
    store: TokenStore
    servers: Sequence[Server]
    access: list[Token] = field(default_factory=list)
    refresh: list[Token] = field(default_factory=list)

    def fill(self) -> None:
        """Give it grants."""
        for _ in range(GRANTS):
            grant = Grant(new_grant_id(), "my-app", secrets.token_hex(4), "project", "file")
            code = KEYS.newest.random(Kind.CODE, grant.grant_id)
            self.store.open_grant(grant, code, CodeBinding(URI, True, CHALLENGE))
            refresh = KEYS.newest.derived(Kind.REFRESH, code)
            access = KEYS.newest.derived(Kind.ACCESS, code)
            issued = self.store.redeem_code(
                code,
                client_id="my-app",
                redirect_uri=URI,
                code_challenge=CHALLENGE,
                request_id=secrets.token_urlsafe(12),
                access=access,
                refresh=refresh,
                next_refresh=KEYS.newest.derived(Kind.REFRESH, refresh),
            )
            assert isinstance(issued, Issued)
            self.access.append(access)
            self.refresh.append(refresh)
            self.validate(len(self.access) - 1)

    def validate(self, number: int) -> None:
        """Ask about an access token, as every forwarded request does."""
        assert self.store.access_token(self.access[number]) is not None

    def rotate(self, number: int) -> None:
        """Refresh a grant."""
        presented = self.refresh[number]
        refresh = KEYS.newest.derived(Kind.REFRESH, presented)
        access = KEYS.newest.derived(Kind.ACCESS, presented)
        next_refresh = KEYS.newest.derived(Kind.REFRESH, refresh)
        issued = self.store.rotate_refresh(
            presented,
            client_id="my-app",
            scope="",
            candidates=[RefreshCandidate(access, refresh, next_refresh)],
        )
        assert isinstance(issued, Issued)
        self.access[number], self.refresh[number] = access, refresh

    def commands(self, operation: Callable[[int], None], names: Sequence[str]) -> float:
        """Count the commands of clients that one operation sends, on all servers."""
        before = self._calls(names)
        for number in range(GRANTS):
            operation(number)
        return (self._calls(names) - before) / GRANTS

    def _calls(self, names: Sequence[str]) -> int:
        found = 0
        for server in self.servers:
            calls = server.redis.info("commandstats")
            found += sum(calls.get(f"cmdstat_{name}", {}).get("calls", 0) for name in names)
        return found


@dataclass(frozen=True)
class Measured:
    """An operation, and the names of the commands that it sends.

    What a script does inside the server is counted under its own name as well, so these names are
    not the same for all operations.
    """

    name: str
    run: Callable[[Stand, int], None]
    sends: Sequence[str]


OPERATIONS = (
    Measured("validation", Stand.validate, ("get", "time")),
    Measured("refresh", Stand.rotate, ("evalsha", "eval")),
)


def main() -> None:
    """Measure, and print tables as Markdown."""
    logging.disable()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        node = stack.enter_context(one_node(folder / "node"))
        watched = stack.enter_context(sentinel(folder / "sentinel"))
        shared = stack.enter_context(cluster(folder / "cluster"))
        stands = [
            _stand("one node", f"redis://127.0.0.1:{node.port}", [node]),
            _stand("behind Sentinel", watched.url, watched.servers[:1]),
            _stand("cluster of three", shared.url, shared.nodes),
        ]
        for each in stands:
            each.fill()
        for operation in OPERATIONS:
            _compare(operation, stands)
        _limits(stands[0], node)
        for each in stands:
            each.redis.close()


def _stand(name: str, url: str, servers: Sequence[Server]) -> Stand:
    settings = Store(url=url, timeout=5.0)
    client = RedisClient(settings)
    return Stand(name, client, TokenStore(client, "gateway", Tokens()), servers)


def _compare(measured: Measured, stands: Sequence[Stand]) -> None:
    alone: dict[str, list[float]] = {each.name: [] for each in stands}
    together: dict[str, list[float]] = {each.name: [] for each in stands}
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in range(ROUNDS):
            for stand in stands:
                work = partial(measured.run, stand)
                alone[stand.name].append(_rate(partial(_all, map, work)))
                together[stand.name].append(_rate(partial(_all, threads.map, work)))
    columns = f"one thread, per second | ratio | {THREADS} threads | ratio | commands"
    print(f"\n| {measured.name} | {columns} |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    base = stands[0].name
    for stand in stands:
        one, many = (statistics.median(each[stand.name]) for each in (alone, together))
        first = (statistics.median(each[base]) for each in (alone, together))
        ratio_one, ratio_many = (
            ours / theirs for ours, theirs in zip((one, many), first, strict=True)
        )
        count = stand.commands(partial(measured.run, stand), measured.sends)
        print(
            f"| {stand.name} | {one:,.0f} | {ratio_one:.2f} | {many:,.0f} | {ratio_many:.2f}"
            f" | {count:.2f} |"
        )


def _all(each: Callable[..., Iterable[None]], work: Callable[[int], None]) -> None:
    list(each(work, range(GRANTS)))


def _rate(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return GRANTS / (time.perf_counter() - started)


def _limits(stand: Stand, node: Server) -> None:
    """Compare a command under time limits and circuit with redis-py's bare connection."""
    bare = Connection(host="127.0.0.1", port=node.port, socket_timeout=5.0, decode_responses=True)
    key = stand.store.grant_key(stand.access[0].grant_id)

    def plain() -> None:
        bare.send_command("GET", key)
        assert bare.read_response()

    def limited() -> None:
        assert stand.redis.command("GET", key)

    def unlimited() -> None:
        # The very same way, without a look at a clock or at the circuit.
        with (
            patch.multiple(DeadlineConnection, apply_deadline=_nothing),
            patch.multiple(Circuit, admit=_nothing, record_success=_nothing),
        ):
            for _ in range(GRANTS):
                limited()

    ways: dict[str, Callable[[], None]] = {
        "bare": partial(_repeat, plain),
        "unlimited": unlimited,
        "ours": partial(_repeat, limited),
    }
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(6 * ROUNDS):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            rounds[name].append((time.perf_counter() - started) / GRANTS * 1e6)
    bare_us, unlimited_us, ours_us = (statistics.median(each) for each in rounds.values())
    print(
        f"\nOne GET: {bare_us:.0f} µs on a bare connection of redis-py; {ours_us:.0f} µs as the"
        f" gateway does it, of which {ours_us - unlimited_us:.1f} µs are the time limits and the"
        " circuit."
    )


def _repeat(work: Callable[[], None]) -> None:
    for _ in range(GRANTS):
        work()


def _nothing(*_: object) -> None:
    """Do not look."""


if __name__ == "__main__":
    main()
