"""What a call does after each kind of reply, with and without the budget for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MaxConnectionsError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.store.next_step import (
    PAUSE_SECONDS,
    RULES,
    Budget,
    Done,
    EvalInFull,
    Follow,
    Pause,
    Retry,
    Step,
    is_about_node,
    is_no_reply,
    next_step,
)

ENOUGH = Budget(seconds=1.0, retries=1, redirections=1, eval_fallbacks=1)
ASK = AskError("7 127.0.0.1:7000")
MOVED = MovedError("7 127.0.0.1:7001")

#: Errors about the node, each with its step.
ABOUT_NODE: list[tuple[RedisError, Step]] = [
    (ASK, Follow(ASK)),
    (MOVED, Follow(MOVED)),
    (TryAgainError("TRYAGAIN"), Pause(PAUSE_SECONDS)),
    (NoScriptError("NOSCRIPT"), EvalInFull()),
    (ClusterDownError("CLUSTERDOWN"), Retry(reconnect=True)),
    (MasterDownError("MASTERDOWN"), Retry(reconnect=True)),
    (ReadOnlyError("READONLY"), Retry(reconnect=True)),
]
NO_REPLY: list[tuple[RedisError, Step]] = [
    (RedisConnectionError("reset"), Retry()),
    (RedisTimeoutError("late"), Retry()),
]
#: Errors that the same commands would meet again.
FINAL: list[RedisError] = [
    RedisError("unknown"),
    ResponseError("ERR wrong number of arguments"),
    OutOfMemoryError("OOM"),
    NoPermissionError("NOPERM"),
    BusyLoadingError("LOADING"),
    MaxConnectionsError("in use"),
    AuthenticationError("WRONGPASS"),
]


def _name(each: Any) -> str | None:
    return type(each).__name__ if isinstance(each, RedisError) else None


@pytest.mark.parametrize(("reply", "step"), [*ABOUT_NODE, *NO_REPLY], ids=_name)
def test_each_reply_leads_to_its_step(reply: RedisError, step: Step) -> None:
    assert next_step(reply, ENOUGH) == step


@pytest.mark.parametrize("reply", ["a value", "", None, 0, [], ["ok", None]], ids=repr)
def test_a_value_ends_the_call(reply: Any) -> None:
    assert next_step(reply, ENOUGH) == Done()
    assert not is_about_node(reply)


@pytest.mark.parametrize("reply", FINAL, ids=_name)
def test_an_error_that_would_come_again_ends_the_call(reply: RedisError) -> None:
    assert next_step(reply, ENOUGH) == Done()
    assert not is_about_node(reply)
    assert not is_no_reply(reply)


@pytest.mark.parametrize(
    ("reply", "spent"),
    [
        (ASK, {"redirections": 0}),
        (MOVED, {"redirections": 0}),
        (TryAgainError(), {"seconds": PAUSE_SECONDS}),
        (TryAgainError(), {"seconds": -1.0}),
        (NoScriptError(), {"eval_fallbacks": 0}),
        *[
            (error, spent)
            for error in (
                ClusterDownError(""),
                ReadOnlyError(),
                RedisConnectionError(),
                RedisTimeoutError(),
            )
            for spent in ({"retries": 0}, {"seconds": 0.0}, {"seconds": -1.0})
        ],
    ],
    ids=str,
)
def test_what_the_budget_does_not_allow_ends_the_call(
    reply: RedisError, spent: dict[str, Any]
) -> None:
    assert next_step(reply, replace(ENOUGH, **spent)) == Done()


@pytest.mark.parametrize(("reply", "step"), [*ABOUT_NODE, *NO_REPLY], ids=_name)
def test_a_step_needs_no_more_than_its_own_part_of_the_budget(
    reply: RedisError, step: Step
) -> None:
    nothing = Budget(seconds=0.0, retries=0, redirections=0, eval_fallbacks=0)
    part: dict[type, dict[str, Any]] = {
        Follow: {"redirections": 1},
        Pause: {"seconds": PAUSE_SECONDS + 0.001},
        EvalInFull: {"eval_fallbacks": 1},
        Retry: {"retries": 1, "seconds": 0.001},
    }
    assert next_step(reply, nothing) == Done()
    assert next_step(reply, replace(nothing, **part[type(step)])) == step


def test_to_decide_costs_nothing() -> None:
    budget = replace(ENOUGH)
    for reply, _ in (*ABOUT_NODE, *NO_REPLY):
        next_step(reply, budget)
    assert budget == ENOUGH


def test_errors_about_the_node_are_told_from_missing_replies() -> None:
    assert all(is_about_node(reply) for reply, _ in ABOUT_NODE)
    assert not any(is_no_reply(reply) for reply, _ in ABOUT_NODE)
    assert all(is_no_reply(reply) for reply, _ in NO_REPLY)


def test_every_row_of_the_table_is_tested() -> None:
    assert set(RULES) <= {type(reply) for reply in (*FINAL, *dict([*ABOUT_NODE, *NO_REPLY]))}
