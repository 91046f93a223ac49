"""A server's clock: asked once a second, along with a read, and counted on in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from redis import Redis

from gateway.config.settings import Store
from gateway.store import server_clock
from gateway.store.redis_client import RedisClient
from gateway.store.server_clock import ServerClock
from tests.support.store import embedded


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with embedded(tmp_path_factory.mktemp("clock")) as redis:
        redis.set("gateway:x", "value")
        yield redis


@pytest.fixture
def link(redis: Redis) -> Iterator[RedisClient]:
    path = Path(str(redis.connection_pool.connection_kwargs["path"]))
    link = RedisClient(Store(url=f"unix://{path.resolve()}", timeout=5.0))
    yield link
    link.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock of this process, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(server_clock, "monotonic", lambda: now[0])
    return now


def asked(redis: Redis) -> int:
    """Count how often the server was asked for its clock."""
    found = redis.info("commandstats").get("cmdstat_time", {})
    return int(found.get("calls", 0))


def server_ms(redis: Redis) -> int:
    seconds, microseconds = redis.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def test_the_clock_is_asked_with_the_first_read_and_not_with_the_next_ones(
    redis: Redis, link: RedisClient
) -> None:
    before = asked(redis)
    started = monotonic()
    for _ in range(50):
        assert link.read_with_clock("gateway:x")[0] == "value"
    assert asked(redis) - before <= 1 + (monotonic() - started)


def test_a_read_tells_the_servers_time_and_not_the_processs(
    redis: Redis, link: RedisClient
) -> None:
    for _ in range(3):
        earliest = server_ms(redis)
        _, told = link.read_with_clock("gateway:x")
        # It may be ahead by as long as the reply to TIME took, and never behind.
        assert earliest - 2 <= told <= server_ms(redis) + 5000


def test_a_key_that_is_not_there_has_a_time_as_well(link: RedisClient) -> None:
    value, told = link.read_with_clock("gateway:nothing")
    assert value is None
    assert told > 0


def test_a_note_that_fails_does_no_harm(link: RedisClient) -> None:
    note = ("EVAL", "return redis.error_reply('no')", 1, "gateway:x")
    assert link.read_with_clock("gateway:x", note)[0] == "value"


def test_a_clock_counts_on_and_is_asked_again_after_a_second(clock: list[float]) -> None:
    known = ServerClock()
    assert not known.is_known()
    clock[0] += 0.25
    # Asked a quarter of a second ago; the reply came just now.
    known.take(["1795477796", "123456"], 1000.0)
    assert known.is_known()
    assert known.now_ms() == 1795477796123 + 250
    clock[0] += 0.7
    assert known.is_known()
    assert known.now_ms() == 1795477796123 + 950
    clock[0] += 0.1
    assert not known.is_known()
