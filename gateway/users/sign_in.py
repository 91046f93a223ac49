"""Who the resource owner is: by password, by the WSGI server's word, or by the backend's.

The three methods answer one question, :meth:`ResourceOwners.current_user`. What belongs to the HTTP
of it (cookies, forms, redirects) is in :mod:`gateway.site.browser_session`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.config.settings import SignIn, UpstreamSession, User
from gateway.store.digest import digest
from gateway.users.passwords import password_matches
from gateway.users.session_store import Session, SessionStore

logger = logging.getLogger("gateway.sign_in")

#: Sends a GET for a path with a Cookie header to the backend; returns status and body.
AskBackend = Callable[[str, str], tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class ResourceOwner:
    """A user who is signed in. ``name`` identifies; the others are for people to read."""

    name: str
    full_name: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a browser's request says of its user.

    ``session_id`` is the gateway's cookie, ``remote_user`` what the server or a trusted
    proxy says, ``cookie`` the Cookie header as the backend is to see it.
    """

    session_id: str | None
    remote_user: str | None
    cookie: str


def _proof(user: User) -> str:
    return digest(user.password_hash)


class BackendUnreachable(Exception):  # noqa: N818 - the state's name
    """The backend did not say who its cookie belongs to."""


class ResourceOwners:
    """Answers who is signed in, by the method that ``[sign_in]`` names."""

    def __init__(self, settings: SignIn, sessions: SessionStore, ask_backend: AskBackend) -> None:
        self._settings = settings
        self._users = {user.name: user for user in settings.users if not user.disabled}
        self._sessions = sessions
        self._ask_backend = ask_backend

    def current_user(self, credentials: Credentials) -> ResourceOwner | None:
        """Return who is signed in, or ``None``.

        Raises StoreUnavailable, and BackendUnreachable with ``upstream_session``.
        """
        method = self._settings.method
        if method == "remote_user":
            return ResourceOwner(credentials.remote_user) if credentials.remote_user else None
        if method == "upstream_session":
            return self._by_upstream_session(self._settings.upstream_session, credentials.cookie)
        return self._by_session(credentials.session_id)

    def by_password(self, name: str, password: str) -> ResourceOwner | None:
        """Return the user of that name and password, or ``None``."""
        user = self._users.get(name)
        if not password_matches(user.password_hash if user else None, password) or user is None:
            return None
        return ResourceOwner(user.name, user.full_name, user.email)

    def start_session(self, session_id: str, owner: ResourceOwner) -> None:
        """Keep ``owner``, whose password was right, signed in under a new session id."""
        self._sessions.start(session_id, Session(owner.name, _proof(self._users[owner.name])))

    def _by_session(self, session_id: str | None) -> ResourceOwner | None:
        session = self._sessions.find(session_id) if session_id else None
        user = self._users.get(session.user) if session else None
        # A user taken out of the file, or given another password there, is signed out with that.
        if session is None or user is None or session.proof != _proof(user):
            return None
        return ResourceOwner(user.name, user.full_name, user.email)

    def _by_upstream_session(self, settings: UpstreamSession, cookie: str) -> ResourceOwner | None:
        if not cookie:
            return None
        status, body = self._ask_backend(settings.url, cookie)
        if status in {401, 403}:
            return None
        try:
            answer = json.loads(body) if status == 200 else None  # noqa: PLR2004 - HTTP's
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            logger.warning("the backend answered %s with status %d", settings.url, status)
            raise BackendUnreachable
        name = answer.get(settings.user)
        if not isinstance(name, str) or not name or name in settings.guest:
            return None
        return ResourceOwner(name)
