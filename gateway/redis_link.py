"""Commands to Redis in bounded time, and one error for everything that can go wrong.

Whatever Redis does (down, slow, out of memory, read-only, loading, failing over), the caller
sees :class:`StoreUnavailable`, and the client of the gateway a 503: trouble of the store is
never a client's fault.

Every command and every script here is safe to send twice (see the scripts in ``lua/``), so
one that got no answer is sent once more, if there is time: all together takes no longer
than twice ``store.timeout``.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import (
    BusyLoadingError,
    MaxConnectionsError,
    NoScriptError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from gateway.circuit import Circuit, CircuitOpen
from gateway.config import Store
from gateway.embedded_store import EmbeddedStore, EmbeddedStoreError
from gateway.redis_client import RedisClient, connect, node_of

logger = logging.getLogger("gateway.store")

Answer = TypeVar("Answer")


class StoreUnavailable(Exception):  # noqa: N818 - the state's name, as in HTTP's 503
    """The store gave no answer, or refused for a reason of its own. Nothing is known."""


class Script(NamedTuple):
    """A Lua script of the package: one change of the store, all of it or nothing."""

    name: str
    text: str
    sha1: str


@cache
def script(name: str) -> Script:
    """Return the script ``lua/<name>.lua``."""
    text = files("gateway").joinpath("lua", f"{name}.lua").read_text("utf-8")
    # The name by which EVALSHA asks for a script (not a use of SHA-1 for security).
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class RedisLink:
    """The gateway's connection to its store; shared by threads, made anew after a fork."""

    def __init__(self, settings: Store) -> None:
        self._settings = settings
        self._client: RedisClient | None = None
        self._owner_pid = 0
        self._opening = threading.Lock()
        self._embedded = EmbeddedStore(settings.data_dir) if settings.url == "embedded" else None
        self._circuits: dict[str, Circuit] = {}

    def open(self) -> None:
        """Start the embedded store, if that is the one.

        Raises EmbeddedStoreError if it cannot run here; a remote store that does not answer
        is not an error yet.
        """
        if self._embedded is not None:
            self._embedded.ensure_running()

    def close(self) -> None:
        """Give up the connections, and this process's share of an embedded store."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._embedded is not None:
            self._embedded.release()

    def command(self, *words: str | int) -> Any:
        """Send one command and return its answer. Raises StoreUnavailable."""
        return self._answered(lambda client: client.execute_command(*words), words)

    def commands(self, *commands: Sequence[str | int]) -> list[Any]:
        """Send several commands in one round trip; return their answers.

        Raises StoreUnavailable if any of them has no answer or was refused.
        """
        return self._answered(
            lambda client: [_good(each) for each in _pipelined(client, commands)], commands[0]
        )

    def command_and_note(self, words: Sequence[str | int], note: Sequence[str | int]) -> Any:
        """Send a command, and with it in one round trip a note whose loss does no harm.

        Returns the command's answer. Raises StoreUnavailable.
        """
        return self._answered(lambda client: _good(_pipelined(client, (words, note))[0]), words)

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run the script ``name`` and return its answer. Raises StoreUnavailable."""
        lua = script(name)

        def send(client: RedisClient) -> Any:
            try:
                return client.execute_command("EVALSHA", lua.sha1, len(keys), *keys, *arguments)
            except NoScriptError:
                # A new or restarted node, or SCRIPT FLUSH: the text goes along once.
                return client.execute_command("EVAL", lua.text, len(keys), *keys, *arguments)

        return self._answered(send, (name, keys[0]))

    def _answered(
        self, send: Callable[[RedisClient], Answer], words: Sequence[str | int]
    ) -> Answer:
        started = monotonic()
        circuit = self._circuit(words)
        try:
            circuit.admit()
            client = self._redis()
            try:
                answer = send(client)
            except (RedisConnectionError, RedisTimeoutError):
                # Half of the time is left for a second try, which finds another connection.
                if monotonic() - started > self._settings.timeout * 1.1:
                    raise
                answer = send(client)
        except CircuitOpen:
            raise StoreUnavailable("CircuitOpen") from None
        except (RedisError, RedisClusterException, EmbeddedStoreError) as error:
            logger.warning("the store gave no answer: %s", type(error).__name__)
            if _is_silence(error):
                circuit.failed()
                self._revive_embedded()
            raise StoreUnavailable(type(error).__name__) from error
        circuit.succeeded()
        return answer

    def _circuit(self, words: Sequence[str | int]) -> Circuit:
        """Return the circuit of the node that a command goes to: one dead node is not all."""
        node = node_of(self._client, str(words[1])) if len(words) > 1 else ""
        circuit = self._circuits.get(node)
        if circuit is None:
            circuit = self._circuits[node] = Circuit(self._settings.timeout)
        return circuit

    def _redis(self) -> RedisClient:
        client = self._client
        if client is not None and self._owner_pid == os.getpid():
            return client
        if not self._opening.acquire(timeout=self._settings.timeout):
            raise RedisTimeoutError("somebody else is connecting")
        try:
            if self._client is None or self._owner_pid != os.getpid():
                socket = self._embedded.ensure_running() if self._embedded else None
                self._client = connect(self._settings, socket)
                self._owner_pid = os.getpid()
            return self._client
        finally:
            self._opening.release()

    def _revive_embedded(self) -> None:
        # Its keeper restarts a server that died; this is for a keeper that died with it. It
        # takes longer than a request may wait, so the request is not held up for it.
        if self._embedded is None or not self._opening.acquire(blocking=False):
            return

        def revive(embedded: EmbeddedStore) -> None:
            try:
                embedded.ensure_running()
            except EmbeddedStoreError as error:
                logger.error("the embedded store does not start: %s", error)  # noqa: TRY400
            finally:
                self._opening.release()

        threading.Thread(target=revive, args=(self._embedded,), daemon=True).start()


def _is_silence(error: Exception) -> bool:
    """Tell whether a server gave no answer, and not that it or the pool is busy."""
    silent = isinstance(error, RedisConnectionError | RedisTimeoutError | RedisClusterException)
    return silent and not isinstance(error, BusyLoadingError | MaxConnectionsError)


def _pipelined(client: RedisClient, commands: Sequence[Sequence[str | int]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for words in commands:
        pipeline.execute_command(*words)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    return answers


def _good(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer
