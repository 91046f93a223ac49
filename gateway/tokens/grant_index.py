"""Which grants a user and a client have: indexes that may lag behind the grants, never lie.

Two kinds of index, for a user and for a client: of grants whose code waits, and of grants that
have tokens. An entry is made after its grant, and before anybody has the code or the tokens.
So no grant that can be used is missing. An entry whose grant is gone may be dropped by the
gateway that finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from string import ascii_letters, digits

from gateway.store.redis_client import RedisClient, StoreUnavailable
from gateway.tokens.grant import Grant
from gateway.tokens.outbox import Message, Outbox
from gateway.tokens.scripts import DROP_FROM_INDEX, LIST_IN_INDEX, SCAN_INDEX, Scanned

# A client may have most of all grants. Its index of grants with tokens is cut into shares by the
# first character of their ids, so that a cluster's nodes share it. Codes do not live long, so
# their index stays small.
_SHARES = ascii_letters + digits + "-_"

# How many grants are read at once.
_BATCH = 500

# An entry lives this much longer than its grant (ms), since it is made a moment later or earlier.
_SLACK_MS = 1000

# How often a lost message is sent again (s): seldom, since many may be lost at the same moment.
_PAUSE = 1.0

# How long a lost removal is repeated (s). An entry that stays is dropped when it is read next.
_REMOVAL_PATIENCE = 600.0


class GrantIndex:
    """The indexes of grants. Everything raises StoreUnavailable, apart from :meth:`remove`."""

    def __init__(self, redis: RedisClient, key_prefix: str, outbox: Outbox) -> None:
        self._redis = redis
        self._prefix = key_prefix
        self._outbox = outbox

    def of_grant(self, grant: Grant) -> list[str]:
        """Return the keys of the indexes that a grant belongs in."""
        kind = "grants" if grant.redeemed else "codes"
        share = grant.grant_id[0] + ":" if grant.redeemed else ""
        keys = [f"{self._prefix}:{kind}-of-client:{share}{grant.client_id}"]
        if grant.user is not None:
            keys.append(f"{self._prefix}:{kind}-of-user:{grant.user}")
        return keys

    def of_user(self, user: str) -> list[str]:
        """Return the keys of a user's indexes.

        Codes come first: a grant whose code is redeemed meanwhile is in the second index before
        it leaves the first.
        """
        return [f"{self._prefix}:codes-of-user:{user}", f"{self._prefix}:grants-of-user:{user}"]

    def of_client(self, client_id: str) -> list[str]:
        """Return the keys of a client's indexes; codes come first, as for a user."""
        grants = [f"{self._prefix}:grants-of-client:{each}:{client_id}" for each in _SHARES]
        return [f"{self._prefix}:codes-of-client:{client_id}", *grants]

    def enter(self, grant: Grant, lifetime_ms: int) -> None:
        """Enter a grant that lives so long at the most, and wait until that is done."""
        for message in self._entries(grant, lifetime_ms):
            self._redis.run(message.script, [message.key], message.arguments)

    def post(self, grant: Grant, lifetime_ms: int) -> None:
        """Enter a grant, or lengthen its entries, without waiting for it.

        Raises StoreUnavailable where a message can not even be sent.
        """
        for message in self._entries(grant, lifetime_ms):
            try:
                self._outbox.post(message)
            except StoreUnavailable:
                # The connection may have been an old one.
                self._redis.run(message.script, [message.key], message.arguments)

    def lengthen(self, grant: Grant, lifetime_ms: int) -> None:
        """Lengthen the entries of a grant, now or when its indexes can be reached."""
        for message in self._entries(grant, lifetime_ms):
            self._outbox.send(message)

    def remove(self, grant: Grant) -> None:
        """Take a grant that has ended out of its indexes, without waiting for it."""
        for key in self.of_grant(grant):
            arguments = [grant.grant_id]
            self._outbox.send(Message(DROP_FROM_INDEX, key, arguments, _PAUSE, _REMOVAL_PATIENCE))

    def drop(self, index: str, grant_ids: Sequence[str]) -> None:
        """Drop entries whose grants are gone."""
        if grant_ids:
            self._redis.run(DROP_FROM_INDEX, [index], grant_ids)

    def read(self, index: str) -> Iterator[list[str]]:
        """Yield the ids in an index, each once, some at a time."""
        # A scan, since entries come and go meanwhile and would shift the pages of a range.
        seen: set[str] = set()
        cursor = ""
        while cursor != "0":
            scanned = Scanned(*self._redis.run(SCAN_INDEX, [index], [cursor or "0", _BATCH]))
            cursor = scanned.cursor
            grant_ids = list(dict.fromkeys(each for each in scanned.grant_ids if each not in seen))
            seen.update(grant_ids)
            if grant_ids:
                yield grant_ids

    def _entries(self, grant: Grant, lifetime_ms: int) -> list[Message]:
        # A lost entry is repeated until it arrives: nothing else would list the grant.
        arguments = (grant.grant_id, lifetime_ms + _SLACK_MS)
        return [Message(LIST_IN_INDEX, key, arguments, _PAUSE, inf) for key in self.of_grant(grant)]
