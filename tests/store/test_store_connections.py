"""The connections to a store: their bound, their fair queue, and replies that come later."""

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
    """A server with one connection."""
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
    """Use the one connection until a value is pushed to ``key``."""
    using = threads.submit(node.send, [("BLPOP", key, 5)], monotonic() + 10)
    until(lambda: redis.info("clients")["blocked_clients"] == 1)
    return using


def _wait(node: RedisNode, count: int) -> bool:
    return len(node._pool._waiters) == count


def test_threads_that_wait_for_a_connection_are_served_in_turn(
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


def test_a_thread_that_waits_too_long_gets_an_error_and_takes_no_place_along(
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
        for number, replies in enumerate(threads.map(ask, range(8))):
            assert replies == [[str(number)]] * 100
        assert len(node._pool._free) == 3
        assert not node._pool._waiters
    finally:
        node.close()


@pytest.fixture
def replies() -> SimpleQueue[Any]:
    """The replies to posted commands, as their callbacks get them."""
    return SimpleQueue()


def test_the_reply_to_a_posted_command_is_read_without_another_command(
    node: RedisNode, replies: SimpleQueue[Any]
) -> None:
    for number in range(3):
        node.post(("ECHO", number), monotonic() + 5, replies.put)
        assert replies.get(timeout=5) == str(number)


def test_the_replies_to_posted_commands_go_to_their_own_callbacks(
    node: RedisNode, replies: SimpleQueue[Any]
) -> None:
    """On their connection they come before the replies to later commands."""
    for number in range(50):
        node.post(("ECHO", f"posted {number}"), monotonic() + 5, replies.put)
        node.post(("GET",), monotonic() + 5, replies.put)
        assert node.send([("ECHO", "a"), ("ECHO", number)], monotonic() + 5) == ["a", str(number)]
        assert replies.get_nowait() == f"posted {number}"
        assert isinstance(replies.get_nowait(), ResponseError)


def test_threads_that_post_and_send_at_once_get_their_own_replies(
    redis: Redis, threads: ThreadPoolExecutor
) -> None:
    path = redis.connection_pool.connection_kwargs["path"]
    node = RedisNode({"path": path}, {}, connections=3, timeout=5.0)
    replies: SimpleQueue[Any] = SimpleQueue()

    def work(worker: int) -> list[list[Any]]:
        own = []
        for number in range(60):
            posted = f"{worker} {number}"
            node.post(("ECHO", posted), monotonic() + 10, partial(_put_both, replies, posted))
            own.append(node.send([("ECHO", worker)], monotonic() + 10))
        return own

    try:
        for worker, own in enumerate(threads.map(work, range(8))):
            assert own == [[str(worker)]] * 60
        for _ in range(8 * 60):
            posted, reply = replies.get(timeout=5)
            assert reply == posted
        until(lambda: not node._is_reading)
        assert len(node._pool._free) == 3
        assert replies.empty()
    finally:
        node.close()


def _put_both(replies: SimpleQueue[Any], posted: str, reply: Any) -> None:
    replies.put((posted, reply))


def test_the_callback_of_a_posted_command_hears_of_a_connection_that_breaks(
    node: RedisNode, redis: Redis, replies: SimpleQueue[Any]
) -> None:
    node.post(("BLPOP", "nobody pushes", 5), monotonic() + 5, replies.put)
    until(lambda: redis.info("clients")["blocked_clients"] == 1)
    redis.client_kill_filter(_type="normal", skipme=True)
    assert isinstance(replies.get(timeout=5), RedisConnectionError)
    assert node.send([("PING",)], monotonic() + 5) == ["PONG"]
    assert replies.empty()


def test_a_posted_command_arrives_although_the_connection_is_closed_at_once(
    redis: Redis, replies: SimpleQueue[Any]
) -> None:
    path = redis.connection_pool.connection_kwargs["path"]
    for number in range(20):
        node = RedisNode({"path": path}, {}, connections=1, timeout=5.0)
        node.post(("RPUSH", "posted", number), monotonic() + 5, replies.put)
        node.close()
        assert isinstance(replies.get(timeout=5), RedisConnectionError)
    until(lambda: redis.llen("posted") == 20)


def test_the_reply_to_a_command_posted_while_the_last_replies_are_read_is_read_too(
    node: RedisNode, replies: SimpleQueue[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading thread is about to end, and no second one is started beside it."""
    read_pending, late = node._read_pending, ["late"]

    def then_post() -> None:
        read_pending()
        if late:
            node.post(("ECHO", late.pop()), monotonic() + 5, replies.put)

    monkeypatch.setattr(node, "_read_pending", then_post)
    node.post(("ECHO", "first"), monotonic() + 5, replies.put)
    assert replies.get(timeout=5) == "first"
    assert replies.get(timeout=5) == "late"


def test_a_callback_that_raises_takes_no_connection_along(
    redis: Redis, threads: ThreadPoolExecutor
) -> None:
    """The host of a wrapped application may end its greenlet in the callback."""
    path = redis.connection_pool.connection_kwargs["path"]
    node = RedisNode({"path": path}, {}, connections=3, timeout=5.0)

    def fail(reply: object) -> None:
        raise KeyboardInterrupt

    try:
        node.post(("ECHO", 1), monotonic() + 5, fail)
        with suppress(KeyboardInterrupt):
            node.drop_idle()
        assert len(node._pool._free) == 3
        node.post(("ECHO", 1), monotonic() + 5, fail)
        with suppress(KeyboardInterrupt):
            node.send([("ECHO", 2)], monotonic() + 5)
        assert len(node._pool._free) == 3
    finally:
        node.close()


@pytest.fixture
def link(data_dir: Path, redis: Redis) -> Iterator[RedisClient]:
    link = RedisClient(Store(data_dir=data_dir, timeout=5.0))
    yield link
    link.close()


def test_a_posted_script_whose_reply_is_an_error_is_lost(link: RedisClient, redis: Redis) -> None:
    """Any error counts: a redirection to another node, or a refused write."""
    redis.rpush("a-list", "x")
    lost: SimpleQueue[bool] = SimpleQueue()
    link.post(named("note_delivery"), ["no-grant"], ["x", 1], on_lost=partial(lost.put, False))
    link.post(named("note_delivery"), ["a-list"], ["x", 1], on_lost=partial(lost.put, True))
    assert lost.get(timeout=5)
    assert lost.empty()


def test_a_client_that_was_closed_and_is_used_again_hears_of_lost_scripts(
    link: RedisClient, redis: Redis
) -> None:
    redis.rpush("another-list", "x")
    lost: SimpleQueue[str] = SimpleQueue()
    link.post(
        named("note_delivery"), ["another-list"], ["x", 1], on_lost=partial(lost.put, "before")
    )
    link.close()
    link.post(
        named("note_delivery"), ["another-list"], ["x", 1], on_lost=partial(lost.put, "after")
    )
    assert lost.get(timeout=5) == "after"
    assert lost.empty()


def test_without_a_new_thread_the_calling_thread_waits(
    node: RedisNode, replies: SimpleQueue[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the connection to open, and for the reply to a posted command."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    node.post(("ECHO", "x"), monotonic() + 5, replies.put)
    assert replies.get_nowait() == "x"
    assert node.send([("PING",)], monotonic() + 5) == ["PONG"]
