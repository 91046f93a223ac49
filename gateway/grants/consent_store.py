"""What users allowed which client, remembered so that they are asked once."""

from __future__ import annotations

import json
from collections.abc import Iterable

from gateway.config.settings import Client
from gateway.store.digest import digest
from gateway.store.redis_client import RedisClient
from gateway.tokens.token import new_secret

# A member that no scope can be: a consent without any scope is one all the same.
_ASKED = ""


class ConsentStore:
    """Which scopes a user has granted to which client, for ``consent = "remember"``."""

    def __init__(self, redis: RedisClient, key_prefix: str, seconds: int) -> None:
        self._redis = redis
        self._prefix = key_prefix
        self._seconds = seconds

    def granted(self, user: str, client: Client) -> frozenset[str] | None:
        """Return the scopes that ``user`` granted to this very client, ``None`` if never asked."""
        members = self._redis.command("SMEMBERS", self._key(user, client))
        return frozenset(members) - {_ASKED} if members else None

    def remember(self, user: str, client: Client, scopes: Iterable[str]) -> None:
        """Add ``scopes`` to what ``user`` has granted to the client."""
        key = self._key(user, client)
        self._redis.commands(("SADD", key, _ASKED, *scopes), ("EXPIRE", key, self._seconds))

    def forget(self, user: str, client: Client) -> None:
        """Ask ``user`` again the next time that the client wants anything."""
        self._redis.command("DEL", self._key(user, client))

    def forget_user(self, user: str) -> None:
        """Ask ``user`` again whichever client wants anything."""
        self._begin_anew(self._beginning("user", user))

    def forget_client(self, client_id: str) -> None:
        """Ask every user again when a client of that id wants anything."""
        self._begin_anew(self._beginning("client", client_id))

    def _begin_anew(self, key: str) -> None:
        # Nobody knows whom a client was allowed by. So what was allowed before is under another
        # name from now on, and has expired when this one is gone.
        self._redis.command("SET", key, new_secret(), "EX", self._seconds)

    def _beginning(self, of: str, name: str) -> str:
        return f"{self._prefix}:consents-since:{of}:{digest(name)}"

    def _key(self, user: str, client: Client) -> str:
        since = self._redis.commands(
            ("GET", self._beginning("user", user)),
            ("GET", self._beginning("client", client.client_id)),
        )
        # Another application may be registered under an id that is free again. What the user
        # has allowed is that codes go to where this one is.
        allowed = [user, client.client_id, *since, *sorted(client.redirect_uris)]
        # All of it is free text: the digest of a list has no two readings.
        return f"{self._prefix}:consent:{digest(json.dumps(allowed))}"
