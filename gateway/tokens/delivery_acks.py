"""Telling the store that what it gave has reached whoever asked for it.

A change whose answer got lost between store and gateway is repeated by the client, and must
not look like a replay: so the store is told when an answer has arrived, and until then a
repetition is answered once more (see ``lua/redeem_code.lua``, ``lua/rotate_refresh.lua``).
"""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from time import monotonic

from gateway.store.redis_client import RedisClient, StoreUnavailable

logger = logging.getLogger("gateway.store")

# How often the store is told again (s), and how long: past the longest life of a code nothing
# that was lost can be had a second time, save a refresh token's successor by who knows both.
_PAUSE = 0.1
_PATIENCE = 600.0


class DeliveryAcks:
    """Notes that answers have arrived."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    def note(self, grant_key: str, what: str, made_at: int) -> None:
        """Tell the store that the answer to ``what`` is here, and wait for no answer to that.

        ``what`` is the id of the request that redeemed a code, or a refresh token's digest;
        ``made_at`` is when the store made its answer (ms since the epoch, by the store's clock).

        Where the store can be reached, the note is on its way when this returns, whatever
        becomes of this process. If it gets lost, it is sent until it arrives. The client gets
        its tokens in any case: it may be the only one that was told of them.
        """
        keys = [grant_key]
        arguments: list[str | int] = [what, made_at]
        insist = partial(self._start_insisting, keys, arguments)
        try:
            self._redis.post("note_delivery", keys, arguments, on_lost=insist)
        except StoreUnavailable:
            insist()

    def _start_insisting(self, keys: list[str], arguments: list[str | int]) -> None:
        # These threads are few, since each had its answer from the store just now.
        try:
            threading.Thread(target=self._insist, args=(keys, arguments), daemon=True).start()
        except RuntimeError:
            # Whoever comes by here may be about to answer somebody else.
            logger.error("no thread for a note of delivery that got lost")  # noqa: TRY400

    def _insist(self, keys: list[str], arguments: list[str | int]) -> None:
        deadline = monotonic() + _PATIENCE
        generation = self._redis.generation
        while monotonic() < deadline and self._redis.generation == generation:
            # Each attempt is a request of its own, wherever the context came from.
            self._redis.start_request_budget()
            try:
                self._redis.run("note_delivery", keys, arguments)
            except StoreUnavailable:
                time.sleep(_PAUSE)
            else:
                return
