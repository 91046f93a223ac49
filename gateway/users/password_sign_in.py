"""``sign_in.method = "password"``: users of the configuration file, and sessions in the store."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import normalize
from urllib.parse import quote, urlencode

from gateway.config.settings import User
from gateway.store.digest import digest
from gateway.store.rate_limits import TooMany
from gateway.users.hashing_queue import Busy, HashingQueue
from gateway.users.passwords import LONGEST_PASSWORD, nobodys_hash, password_matches
from gateway.users.session_store import Session, SessionStore
from gateway.users.sign_in_method import Credentials, ResourceOwner

#: Seconds after which somebody whose password was not checked should try again.
BUSY_RETRY_AFTER = 2


class PasswordSignIn:
    """Signs users in on the gateway's own page, whose paths are given."""

    def __init__(
        self,
        users: Iterable[User],
        sessions: SessionStore,
        *,
        sign_in_path: str,
        sign_out_path: str,
    ) -> None:
        self._users = {_nfc(user.name): user for user in users if not user.disabled}
        self._password_hashes = [user.password_hash for user in self._users.values()]
        self._sessions = sessions
        self._queue = HashingQueue()
        self._sign_in_path = sign_in_path
        self._sign_out_path = sign_out_path

    def current_user(self, credentials: Credentials) -> ResourceOwner | None:
        """Return the user of the session, or ``None``. Raises StoreUnavailable.

        Of two cookies of one name, the one that is a session counts. Where both are, and of
        different users, one of them was planted: then nobody is signed in.
        """
        users = [self._user_of(each) for each in credentials.session_ids]
        names = {user.name: user for user in users if user is not None}
        return _resource_owner(*names.values()) if len(names) == 1 else None

    def _user_of(self, session_id: str) -> User | None:
        session = self._sessions.find(session_id)
        user = self._users.get(_nfc(session.user)) if session else None
        # Removing a user from the file, or changing the password there, ends the user's sessions.
        if session is None or user is None or session.proof != _proof(user):
            return None
        return user

    def sign_in_url(self, target: str) -> str:
        """Return the URL of the gateway's sign-in page."""
        return f"{self._sign_in_path}?next={quote(target, safe='')}"

    def sign_out_url(self, target: str = "") -> str:
        """Return the URL of the gateway's sign-out page."""
        query = f"?{urlencode({'next': target})}" if target else ""
        return self._sign_out_path + query

    def check_password(self, name: str, password: str, network: str) -> ResourceOwner | None:
        """Return the user with this name and password, or ``None``.

        Raises TooMany, before it hashes, if too many others of ``network`` sign in at once.
        """
        if len(password) > LONGEST_PASSWORD:
            return None
        user = self._users.get(_nfc(name))
        password_hash = user.password_hash if user else nobodys_hash(name, self._password_hashes)
        try:
            with self._queue.turn(network):
                matches = password_matches(password_hash, password)
        except Busy:
            raise TooMany(BUSY_RETRY_AFTER) from None
        return _resource_owner(user) if matches and user is not None else None

    def start_session(self, session_id: str, owner: ResourceOwner) -> None:
        """Keep ``owner``, whose password was right, signed in under a new session id."""
        self._sessions.start(session_id, Session(owner.name, _proof(self._users[_nfc(owner.name)])))

    def end_session(self, session_id: str) -> None:
        """Sign the browser with this session id out. Raises StoreUnavailable."""
        self._sessions.end(session_id)


def _nfc(name: str) -> str:
    """RFC 8265 §3.4: names are compared in NFC, so that every keyboard spells a name alike."""
    return normalize("NFC", name)


def _proof(user: User) -> str:
    """Return a value that changes with the user's password and does not reveal it."""
    return digest(user.password_hash)


def _resource_owner(user: User) -> ResourceOwner:
    return ResourceOwner(user.name, user.full_name, user.email)
