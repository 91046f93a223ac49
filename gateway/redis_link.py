"""Commands to Redis with bounded time, and one error for everything that can go wrong.

Whatever Redis does (down, slow, out of memory, read-only, loading, failing over), the caller
sees :class:`StoreUnavailable`, and the client of the gateway a 503: trouble of the store is
never a client's fault.

Every command and every script here is safe to send twice (see the scripts in ``lua/``), so
one that got no answer is sent once more.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar

from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    NoScriptError,
    RedisClusterException,
    RedisError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from gateway.config import Store
from gateway.embedded_store import EmbeddedStore, EmbeddedStoreError
from gateway.redis_client import RedisClient, connect

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
        return self._answered(lambda client: client.execute_command(*words))

    def commands(self, *commands: Sequence[str | int]) -> list[Any]:
        """Send several commands in one round trip; return their answers.

        Raises StoreUnavailable if any of them has no answer or was refused.
        """
        answers = self._answered(lambda client: _pipelined(client, commands))
        for answer in answers:
            if isinstance(answer, Exception):
                raise StoreUnavailable(type(answer).__name__) from answer
        return answers

    def command_and_note(self, words: Sequence[str | int], note: Sequence[str | int]) -> Any:
        """Send a command, and with it in one round trip a note whose loss does no harm.

        Returns the command's answer. Raises StoreUnavailable.
        """
        answer, _ = self._answered(lambda client: _pipelined(client, (words, note)))
        if isinstance(answer, Exception):
            raise StoreUnavailable(type(answer).__name__) from answer
        return answer

    def run(self, name: str, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Run the script ``name`` and return its answer. Raises StoreUnavailable."""
        lua = script(name)

        def send(client: RedisClient) -> Any:
            try:
                return client.execute_command("EVALSHA", lua.sha1, len(keys), *keys, *arguments)
            except NoScriptError:
                # A new or restarted node, or SCRIPT FLUSH: the text goes along once.
                return client.execute_command("EVAL", lua.text, len(keys), *keys, *arguments)

        return self._answered(send)

    def _answered(self, send: Callable[[RedisClient], Answer]) -> Answer:
        try:
            try:
                return send(self._redis())
            except (RedisConnectionError, RedisTimeoutError):
                return send(self._redis())
        except (RedisError, RedisClusterException, EmbeddedStoreError) as error:
            logger.warning("the store gave no answer: %s", type(error).__name__)
            if isinstance(error, RedisConnectionError):
                self._revive_embedded()
            raise StoreUnavailable(type(error).__name__) from error

    def _redis(self) -> RedisClient:
        if self._client is None or self._owner_pid != os.getpid():
            with self._opening:
                if self._client is None or self._owner_pid != os.getpid():
                    socket = self._embedded.ensure_running() if self._embedded else None
                    self._client = connect(self._settings, socket)
                    self._owner_pid = os.getpid()
        return self._client

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


def _pipelined(client: RedisClient, commands: Sequence[Sequence[str | int]]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for words in commands:
        pipeline.execute_command(*words)
    answers: list[Any] = pipeline.execute(raise_on_error=False)
    return answers
