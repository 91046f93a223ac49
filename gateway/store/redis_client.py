"""Commands to Redis in bounded time, and one error for everything that can go wrong.

Redis may be down, slow, out of memory, read-only, loading or failing over. The caller always gets
:class:`StoreUnavailable`, and the gateway's client gets a 503: trouble of the store is never
a client's fault.

Every command and every script here is safe to send twice (see the scripts in ``lua/``), so a
command without a reply is sent once more if there is time. One request may wait for the store
twice ``store.timeout``, over all its commands.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha1
from importlib.resources import files
from time import monotonic
from typing import Any, NamedTuple

from redis.exceptions import AskError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.config.settings import Store
from gateway.store.circuit import CircuitOpen
from gateway.store.deadline_connection import Command
from gateway.store.embedded import EmbeddedStoreError
from gateway.store.format import FORMAT
from gateway.store.lazy_topology import LazyTopology
from gateway.store.next_step import is_about_node, is_no_reply
from gateway.store.node import RedisNode
from gateway.store.redis_call import RedisCall
from gateway.store.topology import Topology

logger = logging.getLogger("gateway.store")

# How long the present request has waited for the store so far (s); None outside of requests.
_waited: ContextVar[float | None] = ContextVar("waited", default=None)

# The reply of a revocation that found nothing, by the script revoke_token.
_NOTHING_FOUND = ["unknown", ""]


class StoreUnavailable(Exception):  # noqa: N818 - the state's name, as in HTTP's 503
    """The store did not reply, or refused for a reason of its own. Nothing is known."""


_DEFINED = re.compile(r"^local (?:function )?(\w+)", re.MULTILINE)


class Script(NamedTuple):
    """A Lua script of a package: one change of the store, all of it or nothing."""

    name: str
    text: str
    sha1: str


@cache
def script(package: str, name: str) -> Script:
    """Return the script ``lua/<name>.lua`` of a package.

    Its first line, ``#!lua``, stays the first. Behind it come the script's name, the number of
    the format that this version writes, and what it uses of ``lua/prelude.lua``, which the
    scripts of a package share. Comments go: some scripts are sent in full every time.
    """
    folder = files(package).joinpath("lua")
    first, _, steps = folder.joinpath(f"{name}.lua").read_text("utf-8").partition("\n")
    prelude = folder.joinpath("prelude.lua")
    # A block of the prelude defines one name, and uses those of the blocks before it.
    for block in reversed(prelude.read_text("utf-8").split("\n\n") if prelude.is_file() else []):
        defined = _DEFINED.search(block)
        if defined and re.search(rf"\b{defined[1]}\b", steps):
            steps = f"{block}\n{steps}"
    lines = [each for each in steps.splitlines() if each.lstrip()[:2] not in {"", "--"}]
    text = "\n".join([first, f"-- {name}", f"local FORMAT = {FORMAT}", *lines])
    # The name by which EVALSHA asks for a script (not a use of SHA-1 for security).
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


_ASK_CLOCK: Sequence[Command] = (("TIME",),)

_MARK_CHANGE = script("gateway.store", "mark_change")


class RedisClient:
    """The gateway's connection to its store. Threads share it; it connects anew after a fork."""

    def __init__(self, settings: Store) -> None:
        self._timeout = settings.timeout
        self._wait_replicas = settings.wait_replicas
        self._topology = LazyTopology(settings)

    def open(self) -> None:
        """Start the embedded store, if the URL names it.

        Raises EmbeddedStoreError if it cannot run here. A remote store that does not reply is not
        an error yet.
        """
        self._topology.start_embedded()

    def close(self) -> None:
        """Close the connections, and give up this process's share of an embedded store.

        The next command connects anew. Work in the background ends.
        """
        self._topology.close()

    @property
    def request_timeout(self) -> float:
        """How long one request may wait for the store, over all its commands (s)."""
        return 2 * self._timeout

    @property
    def generation(self) -> int:
        """A number that grows with each :meth:`close`, so that work in the background can end."""
        return self._topology.generation

    def start_request_budget(self) -> None:
        """Give all later commands of this thread, together, the time of one request."""
        _waited.set(0.0)

    def pause(self, seconds: float) -> None:
        """Wait before the next command. Raises StoreUnavailable if the request's time is over."""
        with self._within_budget():
            time.sleep(seconds)

    def command(self, *words: str | int) -> Any:
        """Send one command, whose first argument is its key; return its reply.

        Raises StoreUnavailable.
        """
        return self._execute(words)

    def commands(self, *commands: Command) -> list[Any]:
        """Send several commands, in one round trip for each node; return their replies.

        Raises StoreUnavailable if a command got no reply or was refused.
        """
        with self._within_budget() as (topology, deadline):
            replies: list[Any] = [None] * len(commands)
            for numbers in _group_by_node(topology, commands, deadline):
                group = [commands[number] for number in numbers]
                # A reply about one slot says nothing about the other slots of the group.
                call = self._call(topology, group, deadline, redirect_on_first=False)
                for number, reply in zip(numbers, call.execute(), strict=True):
                    replies[number] = reply
            for number, reply in enumerate(replies):
                if is_about_node(reply):
                    (replies[number],) = self._call(
                        topology, [commands[number]], deadline
                    ).execute()
            return [_raise_if_error(reply) for reply in replies]

    def read_with_clock(self, key: str, note: Command | None = None) -> tuple[str | None, int]:
        """Return the value of ``key`` and the clock of its server (ms), in one round trip.

        ``note`` is sent along; its loss does no harm. Raises StoreUnavailable.
        """
        with self._within_budget() as (topology, deadline):
            node = topology.node_of(key, deadline)
            asks_clock = not node.clock.is_known()
            commands: list[Command] = [("GET", key)]
            if asks_clock:
                commands += _ASK_CLOCK
            if note is not None:
                commands.append(note)
            call = RedisCall(topology, commands, deadline, self._timeout, key=key, first_node=node)
            asked_at = monotonic()
            value, *more = call.execute()
            clock = call.node.clock
            if not asks_clock and not clock.is_known():
                # Another server replied than the one that was asked first.
                asked_at = monotonic()
                asks_clock, more = True, call.node.send(_ASK_CLOCK, deadline)
            if asks_clock:
                clock.take(_raise_if_error(more[0]), asked_at)
            return _raise_if_error(value), clock.now_ms()

    def run(
        self,
        lua: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int],
        *,
        replicated: bool = False,
    ) -> Any:
        """Run a script and return its reply. Raises StoreUnavailable.

        ``replicated``: wait until ``store.wait_replicas`` replicas have the change.
        """
        tail = (len(keys), *keys, *arguments)
        return self._execute(
            ("EVALSHA", lua.sha1, *tail),
            key=keys[0],
            replicated=replicated,
            eval_fallback=("EVAL", lua.text, *tail),
        )

    def post(
        self,
        lua: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int],
        on_lost: Callable[[], None],
    ) -> None:
        """Send a script once, and do not wait for its reply. Raises StoreUnavailable.

        One thread calls ``on_lost`` later if the reply was an error or did not come; not if
        this was closed before.
        """
        generation = self.generation

        def on_reply(reply: object) -> None:
            if isinstance(reply, Exception) and self.generation == generation:
                on_lost()

        # In full: a server that does not know the digest refuses it, and no thread waits to send
        # the text then.
        command = ("EVAL", lua.text, len(keys), *keys, *arguments)
        with self._within_budget() as (topology, deadline):
            node = topology.node_of(keys[0], deadline)
            if node.circuit.is_open:
                # A posted command cannot be the probe either: its sender does not see the outcome.
                raise CircuitOpen
            node.post(command, min(deadline, monotonic() + self._timeout), on_reply)

    def nodes(self) -> list[RedisNode]:
        """Return every primary, for :meth:`command_at`. Raises StoreUnavailable."""
        with self._within_budget() as (topology, deadline):
            return topology.primaries(deadline)

    def command_at(self, node: RedisNode, *words: str | int) -> Any:
        """Send a command to one of :meth:`nodes`; return its reply. Raises StoreUnavailable."""
        with self._within_budget() as (topology, deadline):
            call = RedisCall(topology, [words], deadline, self._timeout, node=node)
            return _raise_if_error(call.execute()[0])

    def _execute(
        self,
        words: Command,
        *,
        key: str | None = None,
        replicated: bool = False,
        eval_fallback: Command | None = None,
    ) -> Any:
        if key is None and len(words) > 1:
            key = str(words[1])
        wanted = self._wait_replicas if replicated else 0
        commands = [words, *self._wait_for_replicas(str(key), wanted)] if wanted else [words]
        with self._within_budget() as (topology, deadline):
            call = RedisCall(
                topology,
                commands,
                deadline,
                self._timeout,
                key=key,
                eval_fallback=eval_fallback,
            )
            replies = call.execute()
            reply = _raise_if_error(replies[0])
            if wanted:
                _require_known_node(call, reply)
                _require_replicas(*replies[1:], wanted=wanted)
            return reply

    def _call(
        self,
        topology: Topology,
        commands: Sequence[Command],
        deadline: float,
        *,
        redirect_on_first: bool = True,
    ) -> RedisCall:
        """Return the call for commands whose first argument is a key of the same node."""
        return RedisCall(
            topology,
            commands,
            deadline,
            self._timeout,
            key=str(commands[0][1]),
            redirect_on_first=redirect_on_first,
        )

    def _wait_for_replicas(self, key: str, wanted: int) -> list[Command]:
        # WAIT is about the last change of its connection. A repeated revocation makes no change,
        # so WAIT would succeed at once: hence a change in any case.
        change = ("EVAL", _MARK_CHANGE.text, 1, f"{key}:wait")
        return [change, ("WAIT", wanted, int(self._timeout * 800))]

    @contextmanager
    def _within_budget(self) -> Iterator[tuple[Topology, float]]:
        """Give the block the topology and the deadline of the request; raise StoreUnavailable.

        The time of the block is charged to the request.
        """
        started = monotonic()
        waited = _waited.get()
        remaining = self.request_timeout - (waited or 0.0)
        try:
            if remaining <= 0:
                raise RedisTimeoutError("the request's time is over")
            yield self._topology.get(), started + remaining
        except CircuitOpen:
            raise StoreUnavailable("CircuitOpen") from None
        except (RedisError, EmbeddedStoreError) as error:
            logger.warning("the store gave no answer: %s", type(error).__name__)
            if isinstance(error, EmbeddedStoreError) or is_no_reply(error):
                self._topology.revive_embedded()
            raise StoreUnavailable(type(error).__name__) from error
        finally:
            if waited is not None:
                _waited.set(waited + monotonic() - started)


def _group_by_node(
    topology: Topology, commands: Sequence[Command], deadline: float
) -> list[list[int]]:
    """Return the numbers of the commands, in one list for each node."""
    groups: dict[int, list[int]] = {}
    for number, words in enumerate(commands):
        node = topology.node_of(str(words[1]), deadline)
        groups.setdefault(id(node), []).append(number)
    return list(groups.values())


def _require_known_node(call: RedisCall, reply: Any) -> None:
    """Raise StoreUnavailable if nobody can tell which node made the change.

    While a slot is being moved, its old node may have made an earlier revocation that the new node
    does not know. The old node cannot be asked whether its replicas have it until the slot has
    moved.
    """
    if call.is_asking and reply == _NOTHING_FOUND:
        raise StoreUnavailable("replicas")


def _require_replicas(change: Any, reached: Any, *, wanted: int) -> None:
    """Raise StoreUnavailable if fewer than ``wanted`` replicas have the change."""
    # While a slot is being moved, the extra change belongs to the new node (ASK), but the key of
    # the command was still on the old one. Then the command made a change there, which is as good.
    if not isinstance(change, AskError):
        _raise_if_error(change)
    if _raise_if_error(reached) < wanted:
        logger.warning("a change is on %d replicas, not on %d", reached, wanted)
        raise StoreUnavailable("replicas")


def _raise_if_error(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply
