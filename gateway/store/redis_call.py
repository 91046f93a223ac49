"""One round of commands on its way to an answer: to which server, how often, until when.

A server that is silent is asked once more, after a look at who is where; so is one that has
stopped being the primary, and a cluster that is about to agree on another one. A slot that
moved, or is just moving, is followed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from time import monotonic
from typing import Any

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MaxConnectionsError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.store.deadline_connection import Command
from gateway.store.node import RedisNode
from gateway.store.topology import Topology

_TRIES = 2

# How often one command is sent on to another node of a cluster.
_REDIRECTIONS = 5

# Seconds before a command on keys that are just being moved is sent again.
_MOVING_PAUSE = 0.02

_OBSTACLES = (NoScriptError, AskError, TryAgainError, ClusterDownError, ReadOnlyError)


class Errand:
    """Commands for the server that has ``key``; for ``node`` itself if it is given.

    With neither, any primary will do: one that is well, if there is one.
    ``ends`` is when all of it has to end (monotonic), ``timeout`` how long one attempt may
    take (s). ``decisive`` is how many of the answers, from the first, may send all commands
    on; all by default. ``in_full`` replaces the first command at a server that does not know
    the script it names. With ``apart`` it is not waited for keys that are just being moved to
    be together: the caller can ask for each by itself.
    """

    def __init__(
        self,
        topology: Topology,
        commands: Sequence[Command],
        ends: float,
        timeout: float,
        *,
        key: str | None = None,
        node: RedisNode | None = None,
        decisive: int | None = None,
        in_full: Command | None = None,
        apart: bool = False,
    ) -> None:
        self._topology = topology
        self._commands = commands
        self._ends = ends
        self._timeout = timeout
        self._key = key
        self._fixed = node
        self._decisive = decisive
        self._in_full = in_full
        self._apart = apart
        self._node = node
        self._asking = False
        self._admitted: RedisNode | None = None
        self._tries = _TRIES
        self._redirections = _REDIRECTIONS
        self._silent: set[RedisNode] = set()

    @property
    def node(self) -> RedisNode:
        """The server that gave the answers."""
        if self._admitted is None:
            raise RuntimeError("nothing was asked yet")
        return self._admitted

    @property
    def is_aside(self) -> bool:
        """Whether the answers are of the node to which a slot is just being moved (ASK)."""
        return self._asking

    def answers(self) -> list[Any]:
        """Send the commands until there are answers; errors among them are returned.

        Raises CircuitOpen, and RedisError for a server that gives no answer.
        """
        while True:
            node = self._node or self._found()
            if node is not self._admitted:
                node.circuit.admit()
                self._admitted = node
            answers = self._asked(node)
            if answers is not None and not self._goes_on(node, answers):
                return answers

    def _found(self) -> RedisNode:
        if self._key is not None:
            return self._topology.node_of(self._key, self._ends)
        primaries = self._topology.primaries(self._ends)
        well = [each for each in primaries if each not in self._silent and not each.circuit.is_open]
        return random.choice(well or primaries)  # noqa: S311 - not for a secret

    def _asked(self, node: RedisNode) -> list[Any] | None:
        """Return what ``node`` answers; ``None`` if it is silent and there is another try."""
        started = monotonic()
        try:
            answers = node.send(
                self._commands, min(self._ends, started + self._timeout), asking=self._asking
            )
        except (RedisConnectionError, RedisTimeoutError) as error:
            if not is_silence(error):
                raise
            # An attempt that had little time to begin with says nothing about the server.
            if self._ends - started > self._timeout / 2:
                self._silent.add(node)
                node.circuit.failed()
            if not self._has_another_try():
                raise
            return None
        node.circuit.succeeded()
        return answers

    def _goes_on(self, node: RedisNode, answers: list[Any]) -> bool:
        """Tell whether the commands must be sent again, and prepare for it."""
        match next(
            (each for each in answers[: self._decisive] if isinstance(each, _OBSTACLES)), None
        ):
            case NoScriptError() if self._in_full is not None:
                # A new or restarted node, or SCRIPT FLUSH: the text goes along once.
                self._commands, self._in_full = (self._in_full, *self._commands[1:]), None
                return True
            case AskError() as error if self._redirections:
                self._redirections -= 1
                self._node = self._topology.follow(error, node)
                self._asking = not isinstance(error, MovedError)
                return self._node is not None
            case TryAgainError() if not self._apart and monotonic() + _MOVING_PAUSE < self._ends:
                time.sleep(_MOVING_PAUSE)
                return True
            case ClusterDownError() | ReadOnlyError() if self._has_another_try():
                node.drop_idle()
                return True
        return False

    def _has_another_try(self) -> bool:
        self._tries -= 1
        if not self._tries or monotonic() >= self._ends:
            return False
        self._topology.look_again(self._ends)
        self._node, self._asking = self._fixed, False
        return True


def must_move(answer: Any) -> bool:
    """Tell whether an answer says that the command belongs to another node, or to later."""
    return isinstance(answer, _OBSTACLES)


def is_silence(error: Exception) -> bool:
    """Tell whether a server gave no answer, and not that it or the pool is busy."""
    silent = isinstance(error, RedisConnectionError | RedisTimeoutError)
    return silent and not isinstance(
        error, BusyLoadingError | MaxConnectionsError | AuthenticationError
    )
