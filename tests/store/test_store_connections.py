"""The connections to a store: a bound, a fair queue for them, and answers that come later."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError, ResponseError

from gateway.config.settings import Store
from gateway.store.node import RedisNode
from gateway.store.redis_client import RedisClient
from tests.faults.calls import named
from tests.support.serving import until
from tests.support.store import embedded


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def redis(data_dir: Path) -> Iterator[Redis]:
    with embedded(data_dir) as redis:
        yield redis


@pytest.fixture
def node(redis: Redis) -> Iterator[RedisNode]:
    """A server to which there is one connection."""
    path = redis.connection_pool.connection_kwargs["path"]
    node = RedisNode({"path": path}, {}, connections=1, timeout=5.0)
    yield node
    node.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads


def occupied(
    node: RedisNode, threads: ThreadPoolExecutor, redis: Redis, key: str
) -> Future[list[Any]]:
    """Use the one connection until something is pushed to ``key``."""
    using = threads.submit(node.send, [("BLPOP", key, 5)], monotonic() + 10)
    until(lambda: redis.info("clients")["blocked_clients"] == 1)
    return using


def _wait(node: RedisNode, count: int) -> bool:
    return len(node._waiting) == count


def test_who_waits_for_a_connection_is_served_in_turn(
    node: RedisNode, threads: ThreadPoolExecutor, redis: Redis
) -> None:
    waiting = [occupied(node, threads, redis, "turn")]
    for number in range(4):
        command = ("RPUSH", "order", number)
        waiting.append(threads.submit(node.send, [command], monotonic() + 10))
        until(partial(_wait, node, number + 1))
    redis.rpush("turn", "go")
    for each in waiting:
        each.result()
    assert redis.lrange("order", 0, -1) == ["0", "1", "2", "3"]


def test_who_waits_too_long_is_told_so_and_takes_no_place_along(
    node: RedisNode, threads: ThreadPoolExecutor, redis: Redis
) -> None:
    using = occupied(node, threads, redis, "long")
    started = monotonic()
    with pytest.raises(MaxConnectionsError):
        node.send([("PING",)], started + 0.1)
    assert 0.05 < monotonic() - started < 2.0
    redis.rpush("long", "go")
    using.result()
    for _ in range(3):
        assert node.send([("PING",)], monotonic() + 5) == ["PONG"]


def test_many_at_once_leave_every_connection_where_it_was(
    redis: Redis, threads: ThreadPoolExecutor
) -> None:
    path = redis.connection_pool.connection_kwargs["path"]
    node = RedisNode({"path": path}, {}, connections=3, timeout=5.0)

    def ask(number: int) -> list[object]:
        return [node.send([("ECHO", number)], monotonic() + 10) for _ in range(100)]

    try:
        for number, answers in enumerate(threads.map(ask, range(8))):
            assert answers == [[str(number)]] * 100
        assert len(node._free) == 3
        assert not node._waiting
    finally:
        node.close()


@pytest.fixture
def told() -> SimpleQueue[Any]:
    """Where the answers to posted commands arrive."""
    return SimpleQueue()


def test_the_answer_to_a_posted_command_is_told_without_anybody_asking(
    node: RedisNode, told: SimpleQueue[Any]
) -> None:
    for number in range(3):
        node.post(("ECHO", number), monotonic() + 5, told.put)
        assert told.get(timeout=5) == str(number)


def test_the_answers_to_posted_commands_are_nobody_elses(
    node: RedisNode, told: SimpleQueue[Any]
) -> None:
    """They come first on a connection that owes them, and go to whom they are owed."""
    for number in range(50):
        node.post(("ECHO", f"posted {number}"), monotonic() + 5, told.put)
        node.post(("GET",), monotonic() + 5, told.put)
        assert node.send([("ECHO", "a"), ("ECHO", number)], monotonic() + 5) == ["a", str(number)]
        assert told.get_nowait() == f"posted {number}"
        assert isinstance(told.get_nowait(), ResponseError)


def test_many_who_post_and_ask_at_once_get_each_their_own(
    redis: Redis, threads: ThreadPoolExecutor
) -> None:
    path = redis.connection_pool.connection_kwargs["path"]
    node = RedisNode({"path": path}, {}, connections=3, timeout=5.0)
    told: SimpleQueue[Any] = SimpleQueue()

    def work(worker: int) -> list[list[Any]]:
        answers = []
        for number in range(60):
            posted = f"{worker} {number}"
            node.post(("ECHO", posted), monotonic() + 10, partial(_put_both, told, posted))
            answers.append(node.send([("ECHO", worker)], monotonic() + 10))
        return answers

    try:
        for worker, answers in enumerate(threads.map(work, range(8))):
            assert answers == [[str(worker)]] * 60
        for _ in range(8 * 60):
            posted, answer = told.get(timeout=5)
            assert answer == posted
        until(lambda: not node._is_reading)
        assert len(node._free) == 3
        assert told.empty()
    finally:
        node.close()


def _put_both(told: SimpleQueue[Any], posted: str, answer: Any) -> None:
    told.put((posted, answer))


def test_what_was_posted_on_a_connection_that_breaks_is_told_as_lost(
    node: RedisNode, redis: Redis, told: SimpleQueue[Any]
) -> None:
    node.post(("BLPOP", "nobody pushes", 5), monotonic() + 5, told.put)
    until(lambda: redis.info("clients")["blocked_clients"] == 1)
    redis.client_kill_filter(_type="normal", skipme=True)
    assert isinstance(told.get(timeout=5), RedisConnectionError)
    assert node.send([("PING",)], monotonic() + 5) == ["PONG"]
    assert told.empty()


def test_what_was_posted_arrives_also_where_the_connection_is_closed_at_once(
    redis: Redis, told: SimpleQueue[Any]
) -> None:
    path = redis.connection_pool.connection_kwargs["path"]
    for number in range(20):
        node = RedisNode({"path": path}, {}, connections=1, timeout=5.0)
        node.post(("RPUSH", "posted", number), monotonic() + 5, told.put)
        node.close()
        assert isinstance(told.get(timeout=5), RedisConnectionError)
    until(lambda: redis.llen("posted") == 20)


def test_what_is_posted_while_the_last_answers_are_read_is_told_too(
    node: RedisNode, told: SimpleQueue[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that reads them is about to end, and no other one is begun beside it."""
    read_owed, late = node._read_owed, ["late"]

    def then_post() -> None:
        read_owed()
        if late:
            node.post(("ECHO", late.pop()), monotonic() + 5, told.put)

    monkeypatch.setattr(node, "_read_owed", then_post)
    node.post(("ECHO", "first"), monotonic() + 5, told.put)
    assert told.get(timeout=5) == "first"
    assert told.get(timeout=5) == "late"


def test_whoever_is_told_of_a_loss_takes_no_connection_along(
    redis: Redis, threads: ThreadPoolExecutor
) -> None:
    """Not even by an error: the host of a wrapped application may end its greenlet there."""
    path = redis.connection_pool.connection_kwargs["path"]
    node = RedisNode({"path": path}, {}, connections=3, timeout=5.0)

    def fail(answer: object) -> None:
        raise KeyboardInterrupt

    try:
        node.post(("ECHO", 1), monotonic() + 5, fail)
        with suppress(KeyboardInterrupt):
            node.drop_idle()
        assert len(node._free) == 3
        node.post(("ECHO", 1), monotonic() + 5, fail)
        with suppress(KeyboardInterrupt):
            node.send([("ECHO", 2)], monotonic() + 5)
        assert len(node._free) == 3
    finally:
        node.close()


@pytest.fixture
def link(data_dir: Path, redis: Redis) -> Iterator[RedisClient]:
    link = RedisClient(Store(data_dir=data_dir, timeout=5.0))
    yield link
    link.close()


def test_a_posted_script_that_was_answered_with_an_error_is_lost(
    link: RedisClient, redis: Redis
) -> None:
    """Whatever the error: that it is on its way to another node, or that nothing is written."""
    redis.rpush("a-list", "x")
    lost: SimpleQueue[bool] = SimpleQueue()
    link.post(named("note_delivery"), ["no-grant"], ["x", 1], lost=partial(lost.put, False))
    link.post(named("note_delivery"), ["a-list"], ["x", 1], lost=partial(lost.put, True))
    assert lost.get(timeout=5)
    assert lost.empty()


def test_a_link_that_was_closed_and_is_used_again_hears_of_what_is_lost(
    link: RedisClient, redis: Redis
) -> None:
    redis.rpush("another-list", "x")
    lost: SimpleQueue[str] = SimpleQueue()
    link.post(named("note_delivery"), ["another-list"], ["x", 1], lost=partial(lost.put, "before"))
    link.close()
    link.post(named("note_delivery"), ["another-list"], ["x", 1], lost=partial(lost.put, "after"))
    assert lost.get(timeout=5) == "after"
    assert lost.empty()


def test_where_no_thread_is_to_be_had_whoever_needs_it_waits(
    node: RedisNode, told: SimpleQueue[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open the connection, and for the answer to what was posted."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    node.post(("ECHO", "x"), monotonic() + 5, told.put)
    assert told.get_nowait() == "x"
    assert node.send([("PING",)], monotonic() + 5) == ["PONG"]
