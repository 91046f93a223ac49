"""The sample client's sessions: in its memory, each named by a cookie."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from gateway.demo.oauth import Exchange, PendingAuthorization, abbreviate

_MOST_SESSIONS = 1000
_MOST_PENDING = 10


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens that the client holds for a user. ``expires_at`` is a Unix time."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scope: str
    expires_at: float

    @classmethod
    def of(cls, exchange: Exchange) -> Tokens:
        """Read the token endpoint's response (RFC 6749 §5.1). Raises KeyError."""
        members = exchange.members
        return cls(
            members["access_token"],
            members["refresh_token"],
            members.get("scope", ""),
            time.time() + members.get("expires_in", 0),
        )

    @property
    def short_access_token(self) -> str:
        """The access token, as a page may show it."""
        return abbreviate(self.access_token)

    @property
    def short_refresh_token(self) -> str:
        """The refresh token, as a page may show it."""
        return abbreviate(self.refresh_token)

    @property
    def remaining_minutes(self) -> int:
        """How long the access token still lives, in whole minutes."""
        return max(0, round((self.expires_at - time.time()) / 60))


@dataclass(slots=True)
class Session:
    """One browser at the sample client."""

    session_id: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    csrf_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    pending: OrderedDict[str, PendingAuthorization] = field(default_factory=OrderedDict, repr=False)
    user: str | None = None
    tokens: Tokens | None = None
    revoked: bool = False
    last: Exchange | None = None

    def start_authorization(self) -> PendingAuthorization:
        """Start an authorization. Several may be pending, in several tabs."""
        pending = PendingAuthorization.new()
        self.pending[pending.state] = pending
        while len(self.pending) > _MOST_PENDING:
            self.pending.popitem(last=False)
        return pending

    def end_authorization(self, state: str) -> PendingAuthorization | None:
        """Return this browser's pending authorization with ``state``, and forget it.

        ``None`` if this browser has no such authorization.
        """
        return self.pending.pop(state, None)


class Sessions:
    """All sessions, the most recently used last. When there are too many, the first ones go."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def find(self, session_id: str | None) -> Session | None:
        """Return the session with this id, ``None`` if there is none."""
        with self._lock:
            session = self._sessions.get(session_id or "")
            if session is not None:
                self._sessions.move_to_end(session.session_id)
            return session

    def add(self, session: Session) -> None:
        """Remember a session."""
        with self._lock:
            self._sessions[session.session_id] = session
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)

    def remove(self, session: Session) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(session.session_id, None)
