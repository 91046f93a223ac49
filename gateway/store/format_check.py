"""Whether this version may work on a store, by the newest format that was ever written to it."""

from __future__ import annotations

import logging
from contextlib import suppress

from gateway.store.format import FORMAT, NEWEST_READABLE
from gateway.store.redis_client import RedisClient, StoreUnavailable, script

logger = logging.getLogger("gateway.store")

_CLAIM_FORMAT = script("gateway.store", "claim_format")


class UnreadableStoreError(Exception):
    """A gateway that is too new for this one has written to the store."""


def claim_format(redis: RedisClient, key_prefix: str) -> None:
    """Note in the store that a gateway with this version's format starts.

    Raises UnreadableStoreError if a gateway more than one format ahead has started on it. A
    store that does not answer is no error: each grant tells its own format as well.
    """
    with suppress(StoreUnavailable):
        newest = int(redis.run(_CLAIM_FORMAT, [f"{key_prefix}:format"], [FORMAT]))
        if newest > NEWEST_READABLE:
            raise UnreadableStoreError(
                f"A newer gateway has written to the store, in format {newest}. This version reads"
                f" formats up to {NEWEST_READABLE}. Install a version that reads format {newest},"
                " or give this gateway a store or a store.key_prefix of its own."
            )
        if newest > FORMAT:
            logger.info("the next version of the gateway writes to the same store")
