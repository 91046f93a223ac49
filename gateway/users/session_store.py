"""Sign-in sessions: they belong to a browser, not to a grant."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from gateway.store.digest import digest
from gateway.store.format import FORMAT
from gateway.store.redis_client import RedisClient
from gateway.tokens.token import new_secret

# Longer than the sessions of a gateway that was configured with more session_seconds before.
_EPOCH_SECONDS = 400 * 86_400


@dataclass(frozen=True, slots=True)
class Session:
    """The user who signed in; ``proof`` identifies the password without revealing it.

    ``epoch`` is the word that the store had for the user's sessions at the sign-in.
    """

    user: str
    proof: str
    epoch: str = ""


class SessionStore:
    """Keeps sign-in sessions in the store, under the SHA-256 of the cookie's value."""

    def __init__(self, redis: RedisClient, key_prefix: str, session_seconds: int) -> None:
        self._redis = redis
        self._prefix = key_prefix
        self._session_seconds = session_seconds

    def start(self, session_id: str, session: Session) -> None:
        """Keep a session under an id that nobody has seen before. Raises StoreUnavailable."""
        begun = replace(session, epoch=self._epoch(session.user) or "")
        stored = json.dumps({"format": FORMAT, **asdict(begun)}, ensure_ascii=False)
        self._redis.command("SET", self._key(session_id), stored, "EX", self._session_seconds)

    def find(self, session_id: str) -> Session | None:
        """Return the session, or ``None``. Raises StoreUnavailable."""
        stored = self._redis.command("GET", self._key(session_id))
        if not stored:
            return None
        # The next version may have written more than these members, the last one has less.
        members = json.loads(stored)
        session = Session(members["user"], members["proof"], members.get("epoch", ""))
        return session if self._epoch(session.user) in {None, session.epoch} else None

    def end(self, session_id: str) -> None:
        """End a session: its cookie is worthless from now on. Raises StoreUnavailable."""
        self._redis.command("DEL", self._key(session_id))

    def end_all(self, user: str) -> None:
        """End every session of a user. Raises StoreUnavailable."""
        # There is no list of a user's sessions, so their epoch ends. The word stays longer than
        # any session that began before it; sessions that begin later carry it.
        seconds = max(self._session_seconds, _EPOCH_SECONDS)
        self._redis.command("SET", self._epoch_key(user), new_secret(), "EX", seconds)

    def _epoch(self, user: str) -> str | None:
        epoch: str | None = self._redis.command("GET", self._epoch_key(user))
        return epoch

    def _epoch_key(self, user: str) -> str:
        return f"{self._prefix}:sessions-since:{digest(user)}"

    def _key(self, session_id: str) -> str:
        return f"{self._prefix}:session:{digest(session_id)}"
