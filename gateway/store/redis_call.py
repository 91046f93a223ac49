"""One call: commands on their way to a node, until there are replies or the budget is spent.

:mod:`gateway.store.next_step` decides what follows a reply; this module does it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis.exceptions import AskError, MovedError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.store.deadline_connection import Command
from gateway.store.next_step import (
    Budget,
    Done,
    EvalInFull,
    Follow,
    Pause,
    Retry,
    Step,
    is_no_reply,
    next_step,
)
from gateway.store.node import RedisNode
from gateway.store.topology import Topology


class RedisCall:
    """Commands for the node that has ``key``; or for ``node``; without both, for any primary.

    ``first_node`` is the node of ``key`` if the caller has looked it up already.
    ``deadline`` (monotonic) ends the call, ``timeout`` (s) bounds one attempt.
    ``redirect_on_first``: an error about the node in the first reply moves all commands to another
    node; without it, the caller deals with such errors. ``eval_fallback`` replaces the first
    command at a node that does not know its script.
    """

    def __init__(
        self,
        topology: Topology,
        commands: Sequence[Command],
        deadline: float,
        timeout: float,
        *,
        key: str | None = None,
        node: RedisNode | None = None,
        first_node: RedisNode | None = None,
        redirect_on_first: bool = True,
        eval_fallback: Command | None = None,
    ) -> None:
        self._topology = topology
        self._commands = commands
        self._deadline = deadline
        self._timeout = timeout
        self._key = key
        self._fixed_node = node
        self._node = first_node or node
        self._redirect_on_first = redirect_on_first
        self._eval_fallback = eval_fallback
        self._budget = Budget(eval_fallbacks=eval_fallback is not None)
        self._asking = False
        self._admitted: RedisNode | None = None
        self._silent: set[RedisNode] = set()

    @property
    def node(self) -> RedisNode:
        """The server that sent the replies."""
        if self._admitted is None:
            raise RuntimeError("nothing was sent yet")
        return self._admitted

    @property
    def is_asking(self) -> bool:
        """Whether the slot is being moved, and the replies are of its new node (ASK)."""
        return self._asking

    def execute(self) -> list[Any]:
        """Send the commands until a step says that the call is done; return the replies.

        An error reply is returned in its place. Raises CircuitOpen, and RedisError if there is no
        reply.
        """
        while True:
            node = self._next_node()
            try:
                replies = self._send(node)
            except (RedisConnectionError, RedisTimeoutError) as error:
                step = next_step(error, self._budget)
                if isinstance(step, Done):
                    raise
            else:
                step = next_step(replies[0] if self._redirect_on_first else None, self._budget)
                if isinstance(step, Done):
                    return replies
            self._perform(step, node)

    def _next_node(self) -> RedisNode:
        """Return the node to send to, once its circuit breaker has admitted this call."""
        node = self._node or self._choose_node()
        if node is not self._admitted:
            node.circuit.admit()
            self._admitted = node
        return node

    def _choose_node(self) -> RedisNode:
        if self._key is not None:
            return self._topology.node_of(self._key, self._deadline)
        primaries = self._topology.primaries(self._deadline)
        well = [each for each in primaries if each not in self._silent and not each.circuit.is_open]
        return random.choice(well or primaries)  # noqa: S311 - not for a secret

    def _send(self, node: RedisNode) -> list[Any]:
        """Send the commands once. Keep the circuit and the budget up to date."""
        started = monotonic()
        try:
            replies = node.send(
                self._commands, min(self._deadline, started + self._timeout), asking=self._asking
            )
        except (RedisConnectionError, RedisTimeoutError) as error:
            # An attempt that had little time to begin with says nothing about the node.
            if is_no_reply(error) and self._deadline - started > self._timeout / 2:
                self._silent.add(node)
                node.circuit.record_failure()
            raise
        else:
            node.circuit.record_success()
            return replies
        finally:
            self._budget.seconds = self._deadline - monotonic()

    def _perform(self, step: Step, node: RedisNode) -> None:
        match step:
            case Retry(reconnect):
                self._begin_retry(node, reconnect=reconnect)
            case Follow(redirect):
                self._follow(redirect, node)
            case EvalInFull():
                self._eval_in_full()
            case Pause(seconds):
                time.sleep(seconds)

    def _begin_retry(self, node: RedisNode, *, reconnect: bool) -> None:
        self._budget.retries -= 1
        if reconnect:
            node.drop_idle()
        self._topology.refresh(self._deadline)
        self._node, self._asking = self._fixed_node, False

    def _follow(self, redirect: AskError, node: RedisNode) -> None:
        self._budget.redirections -= 1
        self._node = self._topology.follow(redirect, node)
        self._asking = not isinstance(redirect, MovedError)

    def _eval_in_full(self) -> None:
        self._budget.eval_fallbacks -= 1
        if self._eval_fallback is not None:
            self._commands = (self._eval_fallback, *self._commands[1:])
