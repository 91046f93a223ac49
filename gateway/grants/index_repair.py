"""Lists every live grant in its indexes again, after a store lost some of its last changes.

A grant and its entries in the indexes are on different nodes of a cluster, and are written one
after the other. So a failover may keep the one and lose the other: a grant that works, and
that nobody finds who wants to end it. (An entry whose grant is gone is dropped by itself.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from gateway.store.deadline_connection import Command
from gateway.store.redis_client import RedisClient
from gateway.token_store import TokenStore
from gateway.tokens.grant import Grant, grant_from_json

_BATCH = 200

# How much longer an entry may live than its grant (s): the clocks of two nodes may differ.
_SLACK_SECONDS = 300


def list_live_grants_again(redis: RedisClient, store: TokenStore, longest_seconds: int) -> int:
    """Go through all grants on every node, and enter each in its indexes; return how many.

    ``longest_seconds`` is how long a grant lives at most. Harmless at any time, and
    repeated at will. While slots of a cluster are being moved it may miss grants that move.
    Raises StoreUnavailable.
    """
    grants = _grants(redis, store, longest_seconds)
    count = 0
    while batch := list(islice(grants, _BATCH)):
        entries: list[Command] = []
        for grant, ends in batch:
            for index in store.indexes_of(grant):
                entries += (
                    ("ZADD", index, "GT", ends, grant.grant_id),
                    # The index lives as long as the last of its entries.
                    ("EXPIREAT", index, ends + 1, "NX"),
                    ("EXPIREAT", index, ends + 1, "GT"),
                )
        redis.commands(*entries)
        count += len(batch)
    return count


def _grants(
    redis: RedisClient, store: TokenStore, longest_seconds: int
) -> Iterator[tuple[Grant, int]]:
    """Yield every live grant, and when it ends at the latest (seconds since the epoch)."""
    pattern = store.grant_key("*")
    before, after = pattern.split("*")
    for node in redis.nodes():
        cursor = "0"
        while True:
            cursor, keys = redis.command_at(
                node, "SCAN", cursor, "MATCH", pattern, "COUNT", 1000, "TYPE", "string"
            )
            stored = redis.commands(*(("GET", key) for key in keys)) if keys else []
            for key, value in zip(keys, stored, strict=True):
                if value is not None:
                    grant = grant_from_json(key.removeprefix(before).removesuffix(after), value)
                    ends_ms = json.loads(value).get("ends")
                    ends = ends_ms // 1000 if ends_ms else grant.since + longest_seconds
                    yield grant, int(ends) + _SLACK_SECONDS
            if cursor == "0":
                break
