"""Who is signed in at the sample client: kept in its memory, named by a cookie."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from gateway.demo.oauth import Exchange, PendingAuthorization, abbreviated

_MOST_SESSIONS = 1000
_MOST_PENDING = 10


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the client holds for a user. ``ends_at`` is a Unix time."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scope: str
    ends_at: float

    @classmethod
    def of(cls, answer: Exchange) -> Tokens:
        """Read a token endpoint's answer (RFC 6749 §5.1). Raises KeyError."""
        members = answer.members
        return cls(
            members["access_token"],
            members["refresh_token"],
            members.get("scope", ""),
            time.time() + members.get("expires_in", 0),
        )

    @property
    def access_shown(self) -> str:
        """The access token, as a page may show it."""
        return abbreviated(self.access_token)

    @property
    def refresh_shown(self) -> str:
        """The refresh token, as a page may show it."""
        return abbreviated(self.refresh_token)

    @property
    def minutes_left(self) -> int:
        """How long the access token lives, in whole minutes."""
        return max(0, round((self.ends_at - time.time()) / 60))


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

    def ask(self) -> PendingAuthorization:
        """Begin an authorization; several may be under way, in several tabs."""
        pending = PendingAuthorization.new()
        self.pending[pending.state] = pending
        while len(self.pending) > _MOST_PENDING:
            self.pending.popitem(last=False)
        return pending

    def answered(self, state: str) -> PendingAuthorization | None:
        """End the authorization that ``state`` began, ``None`` if none of this browser's did."""
        return self.pending.pop(state, None)


class Sessions:
    """All sessions, the most recently used last; the oldest go first."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = Lock()

    def find(self, session_id: str | None) -> Session | None:
        """Return a session that is there."""
        with self._lock:
            session = self._sessions.get(session_id or "")
            if session is not None:
                self._sessions.move_to_end(session.session_id)
            return session

    def add(self, session: Session) -> None:
        """Keep a session."""
        with self._lock:
            self._sessions[session.session_id] = session
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)

    def remove(self, session: Session) -> None:
        """Forget a session."""
        with self._lock:
            self._sessions.pop(session.session_id, None)
