"""Sends scripts to the store that nobody waits for, and repeats each until it has arrived."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

from gateway.store.redis_client import RedisClient, Script, StoreUnavailable

logger = logging.getLogger("gateway.store")


@dataclass(frozen=True, slots=True)
class Message:
    """A script with its key and arguments. It has to be safe to repeat, and to arrive late.

    If it gets lost, it is sent again every ``pause`` seconds, for ``patience`` seconds.
    """

    script: Script
    key: str
    arguments: Sequence[str | int]
    pause: float
    patience: float


class Outbox:
    """Sends messages to the store, each at least once.

    Where the store can be reached, a message is on its way when :meth:`post` or :meth:`send`
    returns, whatever becomes of this process after that. A lost message is repeated for as long
    as this process runs, and its patience lasts.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    def post(self, message: Message) -> None:
        """Send a message and wait for no reply. Raises StoreUnavailable if it cannot be sent."""
        repeat = partial(self._start_repeating, message)
        self._redis.post(message.script, [message.key], message.arguments, on_lost=repeat)

    def send(self, message: Message) -> None:
        """Send a message and wait for no reply; a store that cannot be reached gets it later."""
        try:
            self.post(message)
        except StoreUnavailable:
            self._start_repeating(message)

    def _start_repeating(self, message: Message) -> None:
        # These threads are few: the store had answered the request that the message belongs to.
        try:
            threading.Thread(target=self._repeat, args=(message,), daemon=True).start()
        except RuntimeError:
            # The thread that comes by here may be about to answer another request.
            logger.error("no thread to repeat %s, which got lost", message.script.name)  # noqa: TRY400

    def _repeat(self, message: Message) -> None:
        deadline = monotonic() + message.patience
        generation = self._redis.generation
        while monotonic() < deadline:
            time.sleep(message.pause)
            if self._redis.generation != generation:
                # Closed: what this process has not sent yet, it does not send any more.
                return
            # Each attempt has the time of one request, wherever the context came from.
            self._redis.start_request_budget()
            try:
                self._redis.run(message.script, [message.key], message.arguments)
            except StoreUnavailable:
                continue
            return
