"""Commands to Redis in bounded time, and one error for everything that can go wrong.

Whatever Redis does (down, slow, out of memory, read-only, loading, failing over), the caller
sees :class:`StoreUnavailable`, and the client of the gateway a 503: trouble of the store is
never a client's fault.

Every command and every script here is safe to send twice (see the scripts in ``lua/``), so
one that got no answer is sent once more, if there is time. All together takes no longer
than twice ``store.timeout``; so does all that one request asks.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from hashlib import sha1
from importlib.resources import files
from time import monotonic
from typing import Any, NamedTuple

from redis.exceptions import AskError, RedisError, TryAgainError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.config.settings import Store
from gateway.store.circuit import CircuitOpen
from gateway.store.deadline_connection import Command
from gateway.store.embedded import EmbeddedStore, EmbeddedStoreError
from gateway.store.format import FORMAT
from gateway.store.node import RedisNode
from gateway.store.redis_call import Errand, is_silence, must_move
from gateway.store.topology import Topology, connect

logger = logging.getLogger("gateway.store")

# What the store has cost the present request so far (s); None outside of requests.
_spent: ContextVar[float | None] = ContextVar("spent", default=None)


# What a revocation answers that found nothing: of a key, and of revoke_token.
_NOTHING_FOUND = (0, ["unknown", ""])


class StoreUnavailable(Exception):  # noqa: N818 - the state's name, as in HTTP's 503
    """The store gave no answer, or refused for a reason of its own. Nothing is known."""


class BeingMoved(StoreUnavailable):
    """The keys of a command are on two nodes at the moment, or a new one would be."""


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
    """The gateway's connection to its store; shared by threads, made anew after a fork."""

    def __init__(self, settings: Store) -> None:
        self._settings = settings
        self._closings = 0
        self._topology: Topology | None = None
        self._owner_pid = 0
        self._opening = threading.Lock()
        self._embedded = EmbeddedStore(settings.data_dir) if settings.url == "embedded" else None

    def open(self) -> None:
        """Start the embedded store, if that is the one.

        Raises EmbeddedStoreError if it cannot run here; a remote store that does not answer
        is not an error yet.
        """
        if self._embedded is not None:
            self._embedded.ensure_running()

    def close(self) -> None:
        """Give up the connections, and this process's share of an embedded store.

        Whoever asks later connects anew; what was at work in the background ends.
        """
        self._closings += 1
        if self._topology is not None:
            self._topology.close()
            self._topology = None
        if self._embedded is not None:
            self._embedded.release()

    @property
    def patience(self) -> float:
        """How long a request waits for the store, all together (s)."""
        return 2 * self._settings.timeout

    def closed_since(self) -> Callable[[], bool]:
        """Return what tells whether this was closed after this call."""
        before = self._closings
        return lambda: self._closings != before

    def begin_request(self) -> None:
        """Give what this thread asks from now on, all of it together, the time of one request."""
        _spent.set(0.0)

    def pause(self, seconds: float) -> None:
        """Wait before the store is asked again. Raises StoreUnavailable if there is no time."""
        with self._bounded():
            time.sleep(seconds)

    def command(self, *words: str | int, replicated: bool = False, apart: bool = False) -> Any:
        """Send one command, whose first argument is its key, and return its answer.

        ``replicated`` waits until ``store.wait_replicas`` replicas have it as well. Raises
        StoreUnavailable; with ``apart`` BeingMoved at once, and not after some waiting.
        """
        return self._one(words, replicated=replicated, apart=apart)

    def commands(self, *commands: Command) -> list[Any]:
        """Send several commands, in one round trip for each node; return their answers.

        Raises StoreUnavailable if any of them has no answer or was refused.
        """
        with self._bounded() as (topology, ends):
            by_node: dict[int, list[int]] = {}
            for number, words in enumerate(commands):
                node = topology.node_of(str(words[1]), ends)
                by_node.setdefault(id(node), []).append(number)
            answers: list[Any] = [None] * len(commands)
            for numbers in by_node.values():
                together = [commands[number] for number in numbers]
                found = self._sent(topology, together, ends, decisive=0, key=str(together[0][1]))
                for number, answer in zip(numbers, found, strict=True):
                    answers[number] = answer
            for number, answer in enumerate(answers):
                if must_move(answer):
                    words = commands[number]
                    answers[number] = self._sent(topology, [words], ends, key=str(words[1]))[0]
            return [_good(answer) for answer in answers]

    def command_and_note(self, words: Command, note: Command) -> Any:
        """Send a command, and with it in one round trip a note whose loss does no harm.

        Returns the command's answer. Raises StoreUnavailable, and BeingMoved.
        """
        with self._bounded() as (topology, ends):
            both, key = (words, note), str(words[1])
            return _good(self._sent(topology, both, ends, key=key, decisive=1, apart=True)[0])

    def read_with_clock(self, key: str, note: Command | None = None) -> tuple[str | None, int]:
        """Return the value of ``key`` and the clock of its server (ms), in one round trip.

        ``note`` is sent along; its loss does no harm. Raises StoreUnavailable.
        """
        with self._bounded() as (topology, ends):
            asks_clock = not topology.node_of(key, ends).clock.is_known()
            commands = [("GET", key), *_ASK_CLOCK[:asks_clock], *([note] if note else [])]
            errand = Errand(topology, commands, ends, self._settings.timeout, key=key, decisive=1)
            asked_at = monotonic()
            value, *more = errand.answers()
            clock = errand.node.clock
            if not asks_clock and not clock.is_known():
                # Another server answered than the one that was asked first.
                asked_at = monotonic()
                asks_clock, more = True, errand.node.send(_ASK_CLOCK, ends)
            if asks_clock:
                clock.take(_good(more[0]), asked_at)
            return _good(value), clock.now_ms()

    def run(
        self,
        lua: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int],
        *,
        replicated: bool = False,
        apart: bool = False,
    ) -> Any:
        """Run a script and return its answer. Raises StoreUnavailable.

        ``replicated`` and ``apart`` are those of :meth:`command`.
        """
        tail = (len(keys), *keys, *arguments)
        return self._one(
            ("EVALSHA", lua.sha1, *tail),
            key=keys[0],
            replicated=replicated,
            in_full=("EVAL", lua.text, *tail),
            apart=apart,
        )

    def post(
        self,
        lua: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int],
        lost: Callable[[], None],
    ) -> None:
        """Send a script once, and wait for nothing. Raises StoreUnavailable.

        ``lost`` is called, by any thread, if it turns out later that there was no good answer;
        unless this was closed before.
        """
        is_closed = self.closed_since()

        def told(answer: object) -> None:
            if isinstance(answer, Exception) and not is_closed():
                lost()

        # In full: nobody waits who could send the text if the server does not know the name.
        command = ("EVAL", lua.text, len(keys), *keys, *arguments)
        with self._bounded() as (topology, ends):
            node = topology.node_of(keys[0], ends)
            if node.circuit.is_open:
                # Nor is this the probe: who posts does not see how it went.
                raise CircuitOpen
            node.post(command, min(ends, monotonic() + self._settings.timeout), told)

    def nodes(self) -> list[RedisNode]:
        """Return every primary, for :meth:`command_at`. Raises StoreUnavailable."""
        with self._bounded() as (topology, ends):
            return topology.primaries(ends)

    def command_at(self, node: RedisNode, *words: str | int) -> Any:
        """Send a command to one of :meth:`nodes`. Raises StoreUnavailable."""
        with self._bounded() as (topology, ends):
            return _good(self._sent(topology, [words], ends, node=node)[0])

    def _one(
        self,
        words: Command,
        *,
        key: str | None = None,
        replicated: bool,
        in_full: Command | None = None,
        apart: bool = False,
    ) -> Any:
        if key is None and len(words) > 1:
            key = str(words[1])
        with self._bounded() as (topology, ends):
            wanted = self._settings.wait_replicas if replicated else 0
            commands = [words, *self._until_replicated(str(key), wanted)]
            errand = Errand(
                topology,
                commands,
                ends,
                self._settings.timeout,
                key=key,
                in_full=in_full,
                apart=apart,
                decisive=1,
            )
            answers = errand.answers()
            answer = _good(answers[0])
            if wanted:
                if errand.is_aside and answer in _NOTHING_FOUND:
                    # It may have been revoked where the slot comes from, and nobody can be asked
                    # there whether a replica knows; until the slot has moved.
                    raise StoreUnavailable("replicas")
                self._judge_replicated(*answers[1:], wanted=wanted)
            return answer

    def _until_replicated(self, key: str, wanted: int) -> list[Command]:
        if not wanted:
            return []
        # WAIT is about the last change that its connection made. Who repeats a revocation makes
        # none, and would be told that all is well: hence a change in any case.
        change = ("EVAL", _MARK_CHANGE.text, 1, f"{key}:wait")
        return [change, ("WAIT", wanted, int(self._settings.timeout * 800))]

    def _judge_replicated(self, change: Any, reached: Any, *, wanted: int) -> None:
        # In a slot that is just being moved, that change belongs to the node to come, while the
        # key of the command was still here. Then it has changed that, which is as good.
        if not isinstance(change, AskError):
            _good(change)
        if _good(reached) < wanted:
            logger.warning("a change is on %d replicas, not on %d", reached, wanted)
            raise StoreUnavailable("replicas")

    @contextmanager
    def _bounded(self) -> Iterator[tuple[Topology, float]]:
        """Give who to ask and when it has to end; make one error of all that goes wrong."""
        started = monotonic()
        before = _spent.get()
        left = self.patience - (before or 0.0)
        try:
            if left <= 0:
                raise RedisTimeoutError("the request has had its time")
            yield self._opened(), started + left
        except CircuitOpen:
            raise StoreUnavailable("CircuitOpen") from None
        except TryAgainError:
            raise BeingMoved("TryAgainError") from None
        except (RedisError, EmbeddedStoreError) as error:
            logger.warning("the store gave no answer: %s", type(error).__name__)
            if isinstance(error, EmbeddedStoreError) or is_silence(error):
                self._revive_embedded()
            raise StoreUnavailable(type(error).__name__) from error
        finally:
            if before is not None:
                _spent.set(before + monotonic() - started)

    def _sent(
        self, topology: Topology, commands: Sequence[Command], ends: float, **options: Any
    ) -> list[Any]:
        return Errand(topology, commands, ends, self._settings.timeout, **options).answers()

    def _opened(self) -> Topology:
        topology = self._topology
        if topology is not None and self._owner_pid == os.getpid():
            return topology
        if not self._opening.acquire(timeout=self._settings.timeout):
            raise RedisTimeoutError("somebody else is connecting")
        try:
            if self._topology is None or self._owner_pid != os.getpid():
                socket = (
                    self._embedded.ensure_running(self._settings.timeout)
                    if self._embedded is not None
                    else None
                )
                self._topology = connect(self._settings, socket)
                self._owner_pid = os.getpid()
            return self._topology
        finally:
            self._opening.release()

    def _revive_embedded(self) -> None:
        # Its keeper restarts a server that died; this is for a keeper that died with it. It
        # takes longer than a request may wait, so the request is not held up for it.
        if self._embedded is None or not self._opening.acquire(blocking=False):
            return

        is_closed = self.closed_since()

        def revive(embedded: EmbeddedStore) -> None:
            try:
                embedded.ensure_running()
                if is_closed() and self._topology is None:
                    embedded.release()
            except EmbeddedStoreError as error:
                logger.error("the embedded store does not start: %s", error)  # noqa: TRY400
            finally:
                self._opening.release()

        threading.Thread(target=revive, args=(self._embedded,), daemon=True).start()


def _good(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer
