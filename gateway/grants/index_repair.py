"""Lists every live grant in its indexes again, after a store lost some of its last changes.

A grant and its entries in the indexes are on different nodes of a cluster, and are written one
after the other. So a failover may keep the grant and lose its entries: the grant works, and
nobody who wants to end it finds it. (An entry whose grant is gone is dropped when it is read.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from gateway.store.deadline_connection import Command
from gateway.store.node import RedisNode
from gateway.store.redis_client import RedisClient
from gateway.token_store import TokenStore
from gateway.tokens.grant import Grant, read_grant

_BATCH = 200

# How much longer an entry may live than its grant (s): the clocks of two nodes may differ.
_SLACK_SECONDS = 300


class _Listed(NamedTuple):
    """A live grant, and until when its indexes have to list it (seconds since the epoch)."""

    grant: Grant
    until: int


def list_live_grants_again(redis: RedisClient, store: TokenStore) -> int:
    """Go through all grants on every node, and enter each in its indexes; return how many.

    It does no harm at any time, and may be repeated. While slots of a cluster are being moved it
    may miss grants that move. Raises StoreUnavailable.
    """
    grants = _live_grants(redis, store)
    count = 0
    while batch := list(islice(grants, _BATCH)):
        redis.commands(*(each for listed in batch for each in _entries(store, listed)))
        count += len(batch)
    return count


def _entries(store: TokenStore, listed: _Listed) -> Iterator[Command]:
    for index in store.indexes_of(listed.grant):
        yield "ZADD", index, "GT", listed.until, listed.grant.grant_id
        # The index lives as long as the last of its entries.
        yield "EXPIREAT", index, listed.until, "NX"
        yield "EXPIREAT", index, listed.until, "GT"


def _live_grants(redis: RedisClient, store: TokenStore) -> Iterator[_Listed]:
    before, _, after = store.grant_key("*").partition("*")
    for node in redis.nodes():
        for keys in _keys_at(redis, node, store.grant_key("*")):
            reads = redis.commands(
                *(each for key in keys for each in (("GET", key), ("PTTL", key)))
            )
            now = int(redis.command_at(node, "TIME")[0])
            for key, stored, left_ms in zip(keys, reads[::2], reads[1::2], strict=True):
                grant = read_grant(key.removeprefix(before).removesuffix(after), stored)
                if grant is not None:
                    yield _Listed(grant, _listed_until(stored, now, left_ms))


def _keys_at(redis: RedisClient, node: RedisNode, pattern: str) -> Iterator[list[str]]:
    cursor = ""
    while cursor != "0":
        cursor, keys = redis.command_at(
            node, "SCAN", cursor or "0", "MATCH", pattern, "COUNT", 1000, "TYPE", "string"
        )
        if keys:
            yield keys


def _listed_until(stored: str, now: int, left_ms: int) -> int:
    # A grant that says that it is listed for longer than it lives has to be.
    listed = int(json.loads(stored).get("listed", 0))
    return max(now + left_ms // 1000, listed) + _SLACK_SECONDS
