"""What belongs to a browser or a user rather than to a grant: sessions and consents."""

from __future__ import annotations

import json
from collections.abc import Iterable

from gateway.redis_link import RedisLink
from gateway.tokens import digest

# A member that no scope can be: a consent without any scope is one all the same.
_ASKED = ""


class SessionStore:
    """Sign-in sessions, by the SHA-256 of the cookie's value."""

    def __init__(self, link: RedisLink, key_prefix: str, session_seconds: int) -> None:
        self._link = link
        self._prefix = key_prefix
        self._session_seconds = session_seconds

    def start(self, session_id: str, user: str) -> None:
        """Sign ``user`` in under a session id that nobody has seen before."""
        stored = json.dumps({"user": user}, ensure_ascii=False)
        self._link.command("SET", self._key(session_id), stored, "EX", self._session_seconds)

    def user_of(self, session_id: str) -> str | None:
        """Return who is signed in under ``session_id``, or ``None``."""
        stored = self._link.command("GET", self._key(session_id))
        return str(json.loads(stored)["user"]) if stored else None

    def end(self, session_id: str) -> None:
        """End a session; its cookie is worth nothing from this moment on."""
        self._link.command("DEL", self._key(session_id))

    def _key(self, session_id: str) -> str:
        return f"{self._prefix}:session:{digest(session_id)}"


class ConsentStore:
    """Which scopes a user has granted to which client, for ``consent = "remember"``."""

    def __init__(self, link: RedisLink, key_prefix: str, seconds: int) -> None:
        self._link = link
        self._prefix = key_prefix
        self._seconds = seconds

    def granted(self, user: str, client_id: str) -> frozenset[str] | None:
        """Return the scopes that ``user`` granted to this very client, ``None`` if never asked."""
        members = self._link.command("SMEMBERS", self._key(user, client_id))
        return frozenset(members) - {_ASKED} if members else None

    def remember(self, user: str, client_id: str, scopes: Iterable[str]) -> None:
        """Add ``scopes`` to what ``user`` has granted to the client."""
        key = self._key(user, client_id)
        self._link.commands(("SADD", key, _ASKED, *scopes), ("EXPIRE", key, self._seconds))

    def forget(self, user: str, client_id: str) -> None:
        """Ask ``user`` again the next time that the client wants anything."""
        self._link.command("DEL", self._key(user, client_id))

    def _key(self, user: str, client_id: str) -> str:
        # Both are free text: a digest of the pair has no two readings.
        return f"{self._prefix}:consent:{digest(json.dumps([user, client_id]))}"
