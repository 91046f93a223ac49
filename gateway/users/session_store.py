"""Sign-in sessions: what belongs to a browser rather than to a grant."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from gateway.store.digest import digest
from gateway.store.format import FORMAT
from gateway.store.redis_client import RedisClient


@dataclass(frozen=True, slots=True)
class Session:
    """Who signed in; ``proof`` names the password that did it, without telling it."""

    user: str
    proof: str


class SessionStore:
    """Sign-in sessions, by the SHA-256 of the cookie's value."""

    def __init__(self, redis: RedisClient, key_prefix: str, session_seconds: int) -> None:
        self._redis = redis
        self._prefix = key_prefix
        self._session_seconds = session_seconds

    def start(self, session_id: str, session: Session) -> None:
        """Sign a user in under a session id that nobody has seen before."""
        stored = json.dumps({"format": FORMAT, **asdict(session)}, ensure_ascii=False)
        self._redis.command("SET", self._key(session_id), stored, "EX", self._session_seconds)

    def find(self, session_id: str) -> Session | None:
        """Return the session, or ``None``."""
        stored = self._redis.command("GET", self._key(session_id))
        if not stored:
            return None
        # The next version may have written more than these two members.
        members = json.loads(stored)
        return Session(members["user"], members["proof"])

    def end(self, session_id: str) -> None:
        """End a session; its cookie is worth nothing from this moment on."""
        self._redis.command("DEL", self._key(session_id))

    def _key(self, session_id: str) -> str:
        return f"{self._prefix}:session:{digest(session_id)}"
