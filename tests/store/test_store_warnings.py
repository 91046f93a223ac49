"""Settings that can lose grants are named: in the log at start, and on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.config.settings import Store
from gateway.store import diagnostics
from gateway.store.diagnostics import store_warnings
from gateway.store.redis_client import RedisClient
from tests.faults.topologies import Server, one_node, wait_until
from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import write_settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("warnings")


@pytest.fixture(scope="module")
def node(folder: Path) -> Iterator[Server]:
    """A server with the right settings."""
    with one_node(folder / "node") as server:
        yield server


@contextmanager
def set_up(node: Server, **settings: str) -> Iterator[None]:
    """Change settings of the server until the block ends."""
    names = [each.replace("_", "-") for each in settings]
    before = {name: node.ask("CONFIG", "GET", name)[1] for name in names}
    for name, value in zip(names, settings.values(), strict=True):
        node.ask("CONFIG", "SET", name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            node.ask("CONFIG", "SET", name, value)


def warning_texts(server: Server) -> list[str]:
    """Return the texts of the warnings about a server; each warning must name it."""
    link = RedisClient(Store(url=f"redis://127.0.0.1:{server.port}", timeout=5.0))
    try:
        warnings = store_warnings(link)
    finally:
        link.close()
    assert {each.server for each in warnings} <= {f"127.0.0.1:{server.port}"}
    return [each.text for each in warnings]


def test_a_store_that_keeps_grants_has_no_warnings(node: Server) -> None:
    assert warning_texts(node) == []


@pytest.mark.parametrize(
    ("settings", "word", "advice"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "allkeys-lru", "noeviction"),
        ({"maxmemory_policy": "volatile-ttl"}, "volatile-ttl", "noeviction"),
        ({"appendonly": "no"}, "nothing is written to disk", "appendonly"),
        ({"appendonly": "no", "save": "3600 1"}, "only snapshots", "appendonly"),
    ],
    ids=["evicts all", "evicts what expires", "keeps nothing", "snapshots only"],
)
def test_a_store_that_can_lose_grants_is_told_what_to_set(
    node: Server, settings: Mapping[str, str], word: str, advice: str
) -> None:
    with set_up(node, **settings):
        (text,) = warning_texts(node)
    assert word in text
    assert advice in text
    assert warning_texts(node) == []


def test_a_store_with_an_append_only_file_may_have_snapshots_too(node: Server) -> None:
    with set_up(node, save="3600 1"):
        assert warning_texts(node) == []


def test_a_replica_is_no_store(folder: Path, node: Server) -> None:
    with one_node(folder / "replica", "--replicaof", f"127.0.0.1 {node.port}") as replica:
        (text,) = warning_texts(replica)
        assert "it is a replica" in text
        assert warning_texts(node) == []
        replica.ask("REPLICAOF", "NO", "ONE")
        assert warning_texts(replica) == []


def test_a_version_that_is_too_old_is_told_which_one_is_needed(
    node: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server of the tests is that old, so the gateway wants a version that is yet to come."""
    info = node.redis.info("server")
    name = str(info.get("server_name", "redis"))
    monkeypatch.setitem(diagnostics._OLDEST, name, (1000, 1))
    (text,) = warning_texts(node)
    assert text.startswith(f"{name} {info[f'{name}_version']} is too old")
    assert "1000.1 or later" in text


@pytest.mark.parametrize(
    ("info", "needed"),
    [
        ({"redis_version": "6.2.14"}, "7.0"),
        ({"redis_version": "5.0"}, "7.0"),
        ({"redis_version": "7.0.0"}, None),
        ({"redis_version": "7.4.1"}, None),
        ({"redis_version": "10.0.0"}, None),
        # Valkey also names the Redis version that it is compatible with.
        ({"server_name": "valkey", "redis_version": "7.2.4", "valkey_version": "7.1.9"}, "7.2"),
        ({"server_name": "valkey", "redis_version": "7.2.4", "valkey_version": "7.2.5"}, None),
        ({"server_name": "valkey", "redis_version": "7.2.4", "valkey_version": "10.0.0"}, None),
        # A server of another kind has version numbers of its own: no warning.
        ({"server_name": "other", "redis_version": "1.0.0", "other_version": "0.1"}, None),
    ],
)
def test_which_versions_are_too_old(info: Mapping[str, str], needed: str | None) -> None:
    """Tested as a function, because no machine has all of these servers."""
    texts = list(diagnostics._version(info))
    assert len(texts) == (needed is not None)
    assert all(f"need {needed} or later" in each for each in texts)


def test_a_gateway_logs_the_warnings_at_start(folder: Path, node: Server) -> None:
    """Before the first request for its health."""
    port = free_port()
    site = folder / "site"
    site.mkdir()
    config = write_settings(site, port=port, store=f"redis://127.0.0.1:{node.port}")
    log = site / "gateway.log"
    with (
        set_up(node, maxmemory_policy="allkeys-lru", appendonly="no"),
        running(
            python_module("gateway", "serve", "--config", str(config)),
            log=log,
            # This endpoint does not ask the store.
            ready=f"http://127.0.0.1:{port}/oauth/health/live",
        ),
    ):
        wait_until(lambda: "allkeys-lru" in log.read_text(), 5)
    lines = log.read_text().splitlines()
    # Each of its processes may log them.
    warned = {line for line in lines if "the store can lose grants" in line}
    assert len(warned) == 2
    assert all(f"127.0.0.1:{node.port}" in line for line in warned)
    assert sum("maxmemory-policy is allkeys-lru" in line for line in warned) == 1
    assert sum("nothing is written to disk" in line for line in warned) == 1
