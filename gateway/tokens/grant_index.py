"""The grants of a user and of a client, by id: indexes that may lag behind the grants, never lie.

An entry is made after its grant and before anybody has its code or token, so no grant that can
be used is missing; an entry whose grant is gone may be dropped by whoever finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import ascii_letters, digits

from gateway.store.redis_client import RedisClient

# A client may have most of all grants: its index is cut up by the first character of their
# ids, so that a cluster's nodes share it.
_SHARDS = ascii_letters + digits + "-_"

# How many grants are asked for at once.
_BATCH = 500


class GrantIndex:
    """Which grants there are of a user, and of a client. Everything raises StoreUnavailable."""

    def __init__(self, redis: RedisClient, key_prefix: str) -> None:
        self._redis = redis
        self._prefix = key_prefix

    def of_user(self, user: str) -> str:
        """Return the key of a user's index."""
        return f"{self._prefix}:grants-of-user:{user}"

    def of_client(self, client_id: str, grant_id: str) -> str:
        """Return the key of the part of a client's index in which a grant belongs."""
        return f"{self._prefix}:grants-of-client:{grant_id[0]}:{client_id}"

    def all_of_client(self, client_id: str) -> list[str]:
        """Return the keys of all parts of a client's index."""
        return [self.of_client(client_id, each) for each in _SHARDS]

    def enter(self, index: str, grant_id: str, lifetime_ms: int) -> None:
        """Enter a grant that lives so long at the most."""
        self._redis.run("list_in_index", [index], [grant_id, lifetime_ms])

    def drop(self, index: str, grant_ids: Sequence[str]) -> None:
        """Drop entries whose grants are gone."""
        if grant_ids:
            self._redis.command("ZREM", index, *grant_ids)

    def read(self, index: str) -> Iterator[list[str]]:
        """Yield the ids in an index, each once, some at a time."""
        # A scan, since entries come and go meanwhile and would shift the pages of a range.
        seen: set[str] = set()
        cursor = ""
        while cursor != "0":
            cursor, scanned = self._redis.run("scan_index", [index], [cursor or "0", _BATCH])
            grant_ids = list(dict.fromkeys(each for each in scanned if each not in seen))
            seen.update(grant_ids)
            if grant_ids:
                yield grant_ids
