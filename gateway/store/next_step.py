"""What a call does after a reply: a table of steps. Nothing here acts.

A call sends its commands to one node. One of three things comes back:

1. A value, or an error about the command. The call is done.
2. An error about the node: the node lacks the slot, the script or the right to write. Another
   node, or the same node a moment later, can execute the commands.
3. No reply. Nobody knows whether the commands were executed. All commands of the gateway are
   safe to send twice, so the call may send them again.

In the cases 2 and 3 the call goes on, and each step costs a part of its budget: a retry, a
redirection, the full text of a script, or time. `RULES` names the rule of each kind of reply. The
rule returns its step if the budget allows it, else `Done`.

`next_step` is pure: it reads no clock, sends nothing and changes nothing.
:class:`gateway.store.redis_call.RedisCall` performs the steps and pays for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MaxConnectionsError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

#: Seconds before commands on keys that are being moved are sent again.
PAUSE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Done:
    """Return the replies to the caller, or raise the error that came instead."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Look up the node of the key anew, and send the commands again.

    ``reconnect``: over new connections, because the node's name may lead to another server now.
    """

    reconnect: bool = False


@dataclass(frozen=True, slots=True)
class Follow:
    """Send the commands to the node that ``redirect`` names."""

    redirect: AskError


@dataclass(frozen=True, slots=True)
class EvalInFull:
    """Send the text of the script instead of its digest."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, then send the commands to the same node again."""

    seconds: float


Step = Done | Retry | Follow | EvalInFull | Pause


@dataclass(slots=True)
class Budget:
    """What one call may still spend. ``seconds``: the time to its deadline, at the last reply."""

    seconds: float = 0.0
    retries: int = 1
    redirections: int = 5
    eval_fallbacks: int = 0


_DONE = Done()


def _done(reply: Any, budget: Budget) -> Step:
    """Anything else: no other node and no later moment gives a better reply."""
    return _DONE


def _follow(reply: Any, budget: Budget) -> Step:
    """ASK and MOVED: another node of the cluster has the slot, or is about to get it."""
    return Follow(reply) if budget.redirections else _DONE


def _pause(reply: Any, budget: Budget) -> Step:
    """TRYAGAIN: the keys of one command lie on two nodes until their slot has moved."""
    return Pause(PAUSE_SECONDS) if budget.seconds > PAUSE_SECONDS else _DONE


def _eval_in_full(reply: Any, budget: Budget) -> Step:
    """NOSCRIPT: the node is new, was restarted, or its scripts were flushed."""
    return EvalInFull() if budget.eval_fallbacks else _DONE


def _reconnect(reply: Any, budget: Budget) -> Step:
    """CLUSTERDOWN, READONLY: the cluster is electing a primary; the node is no primary any more."""
    return Retry(reconnect=True) if _has_retry(budget) else _DONE


def _retry(reply: Any, budget: Budget) -> Step:
    """No reply: the node is down, slow or unreachable."""
    return Retry() if _has_retry(budget) else _DONE


def _has_retry(budget: Budget) -> bool:
    return budget.retries > 0 and budget.seconds > 0


Rule = Callable[[Any, Budget], Step]

#: An error has the rule of its nearest class. In redis-py MOVED is a subclass of ASK, and the last
#: three rows are subclasses of ConnectionError.
RULES: Mapping[type, Rule] = {
    RedisError: _done,
    AskError: _follow,
    TryAgainError: _pause,
    NoScriptError: _eval_in_full,
    ClusterDownError: _reconnect,
    ReadOnlyError: _reconnect,
    RedisConnectionError: _retry,
    RedisTimeoutError: _retry,
    # The server is loading its data, all connections are in use, or the password is wrong: the same
    # commands would get the same error again.
    BusyLoadingError: _done,
    MaxConnectionsError: _done,
    AuthenticationError: _done,
}


def next_step(reply: Any, budget: Budget) -> Step:
    """Return the step after ``reply``: a value, an error reply, or the error of a missing one."""
    if not isinstance(reply, RedisError):
        return _DONE
    return _rule(reply)(reply, budget)


def is_about_node(reply: Any) -> bool:
    """Tell whether a reply is an error about the node (case 2), not about the command."""
    return isinstance(reply, RedisError) and _rule(reply) is not _done


def is_no_reply(error: RedisError) -> bool:
    """Tell whether ``error`` means a node that sent no reply (case 3)."""
    return _rule(error) is _retry


def _rule(error: RedisError) -> Rule:
    return next(RULES[each] for each in type(error).__mro__ if each in RULES)
