"""A call pays for each step, so no reply keeps it going for ever.

A script makes a real server reply with any error, and counts how often it was executed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from gateway.store.cluster import Cluster
from gateway.store.deadline_connection import Command
from gateway.store.next_step import Budget
from gateway.store.node import RedisNode
from gateway.store.redis_call import RedisCall
from tests.support.store import embedded

TIMEOUT = 5.0
REPLY_WITH_ERROR = "redis.call('INCR', 'count') return redis.error_reply(ARGV[1])"
REDIRECTIONS = Budget().redirections


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with embedded(tmp_path_factory.mktemp("store")) as redis:
        yield redis


@pytest.fixture
def node(redis: Redis) -> Iterator[RedisNode]:
    redis.flushall()
    path = redis.connection_pool.connection_kwargs["path"]
    node = RedisNode({"path": path}, {}, connections=1, timeout=TIMEOUT)
    yield node
    node.close()


Call = Callable[..., RedisCall]


@pytest.fixture
def call(node: RedisNode) -> Call:
    """Make a call to the one server, which every redirection leads back to."""
    topology = Cluster([], lambda host, port: node, TIMEOUT)

    def call(*commands: Command, seconds: float = TIMEOUT, **options: Any) -> RedisCall:
        return RedisCall(topology, commands, monotonic() + seconds, TIMEOUT, node=node, **options)

    return call


def error(text: str) -> Command:
    """Return a command to which the server replies with this error."""
    return ("EVAL", REPLY_WITH_ERROR, 0, text)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("ERR unknown", 1),
        ("OOM no memory", 1),
        ("READONLY a replica", 2),
        ("CLUSTERDOWN no quorum", 2),
        ("NOSCRIPT flushed", 1),
        ("MOVED 7 127.0.0.1:7000", 1 + REDIRECTIONS),
        ("ASK 7 127.0.0.1:7000", 1 + REDIRECTIONS),
    ],
)
def test_an_error_that_comes_every_time_is_returned_in_the_end(
    call: Call, redis: Redis, text: str, times: int
) -> None:
    (reply,) = call(error(text)).execute()
    assert isinstance(reply, ResponseError)
    assert redis.get("count") == str(times)


def test_keys_that_never_come_together_are_waited_for_until_the_deadline(
    call: Call, redis: Redis
) -> None:
    started = monotonic()
    (reply,) = call(error("TRYAGAIN moving"), seconds=0.3).execute()
    assert isinstance(reply, ResponseError)
    assert 0.2 < monotonic() - started < TIMEOUT
    assert int(redis.get("count") or 0) > 1


def test_a_script_that_is_not_known_is_sent_in_full_once(call: Call, redis: Redis) -> None:
    again = error("NOSCRIPT flushed")
    unknown = call(("EVALSHA", "0" * 40, 0), ("ECHO", "x"), eval_fallback=again)
    reply, echo = unknown.execute()
    assert isinstance(reply, ResponseError)
    assert echo == "x"
    assert redis.get("count") == "1"


def test_without_redirect_on_first_every_error_is_returned(call: Call, redis: Redis) -> None:
    commands = error("MOVED 7 127.0.0.1:7000"), error("TRYAGAIN moving")
    replies = call(*commands, redirect_on_first=False).execute()
    assert [type(each).__name__ for each in replies] == ["MovedError", "TryAgainError"]
    assert redis.get("count") == "2"


def test_a_later_reply_moves_no_command(call: Call, redis: Redis) -> None:
    reply, moved = call(("ECHO", "x"), error("MOVED 7 127.0.0.1:7000")).execute()
    assert reply == "x"
    assert type(moved).__name__ == "MovedError"
    assert redis.get("count") == "1"


@pytest.mark.parametrize("code", ["ASK", "MOVED"])
def test_only_after_ask_the_replies_are_of_the_new_node_of_a_moving_slot(
    call: Call, redis: Redis, code: str
) -> None:
    once = """
        if redis.call('INCR', 'count') > 1 then return 'value' end
        return redis.error_reply(ARGV[1])
    """
    redirected = call(("EVAL", once, 0, f"{code} 7 127.0.0.1:7000"))
    assert redirected.execute() == ["value"]
    assert redirected.is_asking == (code == "ASK")
