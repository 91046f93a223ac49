"""Remembers which scopes a user allowed to which client, so that nobody is asked twice."""

from __future__ import annotations

import json
from collections.abc import Iterable

from gateway.config.settings import Client
from gateway.store.digest import digest
from gateway.store.redis_client import RedisClient
from gateway.tokens.token import new_secret

# No scope is empty, so this member marks a consent: also a consent without any scope.
_ASKED = ""


class ConsentStore:
    """The consents of users, for ``consent = "remember"``. Everything raises StoreUnavailable."""

    def __init__(self, redis: RedisClient, key_prefix: str, seconds: int) -> None:
        self._redis = redis
        self._prefix = key_prefix
        self._seconds = seconds

    def granted(self, user: str, client: Client) -> frozenset[str] | None:
        """Return the scopes that ``user`` granted to this client, ``None`` without a consent."""
        members = self._redis.command("SMEMBERS", self._key(user, client))
        return frozenset(members) - {_ASKED} if members else None

    def remember(self, user: str, client: Client, scopes: Iterable[str]) -> None:
        """Add ``scopes`` to those that ``user`` has granted to the client."""
        key = self._key(user, client)
        self._redis.commands(("SADD", key, _ASKED, *scopes), ("EXPIRE", key, self._seconds))

    def forget(self, user: str, client: Client) -> None:
        """Forget what ``user`` granted to the client: the next request asks again."""
        self._redis.command("DEL", self._key(user, client))

    def forget_user(self, user: str) -> None:
        """Forget what ``user`` granted to any client."""
        self._begin_anew(self._beginning("user", user))

    def forget_client(self, client_id: str) -> None:
        """Forget what any user granted to a client of that id."""
        self._begin_anew(self._beginning("client", client_id))

    def _begin_anew(self, key: str) -> None:
        # There is no list of a user's or a client's consents. So the names of all their keys
        # change from now on. The old keys expire before this one does.
        self._redis.command("SET", key, new_secret(), "EX", self._seconds)

    def _beginning(self, of: str, name: str) -> str:
        return f"{self._prefix}:consents-since:{of}:{digest(name)}"

    def _key(self, user: str, client: Client) -> str:
        since = self._redis.commands(
            ("GET", self._beginning("user", user)),
            ("GET", self._beginning("client", client.client_id)),
        )
        # Later, another application may be registered under the same id. The user has allowed
        # that codes go to the redirect_uris of this one.
        allowed = [user, client.client_id, *since, *sorted(client.redirect_uris)]
        # Names are free text. JSON keeps them apart, so no two lists have the same digest.
        return f"{self._prefix}:consent:{digest(json.dumps(allowed))}"
