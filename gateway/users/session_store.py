"""Sign-in sessions: they belong to a browser, not to a grant."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from gateway.store.digest import digest
from gateway.store.format import FORMAT
from gateway.store.redis_client import RedisClient


@dataclass(frozen=True, slots=True)
class Session:
    """The user who signed in; ``proof`` identifies the password without revealing it."""

    user: str
    proof: str


class SessionStore:
    """Keeps sign-in sessions in the store, under the SHA-256 of the cookie's value."""

    def __init__(self, redis: RedisClient, key_prefix: str, session_seconds: int) -> None:
        self._redis = redis
        self._prefix = key_prefix
        self._session_seconds = session_seconds

    def start(self, session_id: str, session: Session) -> None:
        """Keep a session under an id that nobody has seen before. Raises StoreUnavailable."""
        stored = json.dumps({"format": FORMAT, **asdict(session)}, ensure_ascii=False)
        self._redis.command("SET", self._key(session_id), stored, "EX", self._session_seconds)

    def find(self, session_id: str) -> Session | None:
        """Return the session, or ``None``. Raises StoreUnavailable."""
        stored = self._redis.command("GET", self._key(session_id))
        if not stored:
            return None
        # The next version may have written more than these two members.
        members = json.loads(stored)
        return Session(members["user"], members["proof"])

    def end(self, session_id: str) -> None:
        """End a session: its cookie is worthless from now on. Raises StoreUnavailable."""
        self._redis.command("DEL", self._key(session_id))

    def _key(self, session_id: str) -> str:
        return f"{self._prefix}:session:{digest(session_id)}"
