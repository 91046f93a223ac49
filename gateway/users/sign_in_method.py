"""What every way to sign in offers, and the values that go in and out.

``sign_in.method`` names the way: :mod:`gateway.users.password_sign_in`,
:mod:`gateway.users.remote_user` or :mod:`gateway.users.upstream_session`. Cookies and forms are in
:mod:`gateway.site`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ResourceOwner:
    """A user who is signed in. ``name`` identifies the user; the rest is for people to read."""

    name: str
    full_name: str = ""
    email: str = ""

    @property
    def display_name(self) -> str:
        """The name that a page shows."""
        return self.full_name or self.name

    @property
    def display_detail(self) -> str:
        """What a page shows beside that name, to tell two users of one name apart."""
        return self.email or (self.name if self.full_name else "")


@dataclass(frozen=True, slots=True)
class Credentials:
    """The parts of a browser's request that can say who its user is.

    ``session_ids`` are the values of the gateway's cookie, ``remote_user`` the name that the WSGI
    server or a trusted proxy gives, ``cookie`` the Cookie header without the gateway's cookie.
    """

    session_ids: Sequence[str]
    remote_user: str | None
    cookie: str


class BackendUnreachable(Exception):  # noqa: N818 - the state's name
    """The backend did not say which user its cookie belongs to."""


class SignInMethod(Protocol):
    """One way to find out who the resource owner is, and where a browser signs in and out."""

    def current_user(self, credentials: Credentials) -> ResourceOwner | None:
        """Return who is signed in, or ``None``. Raises StoreUnavailable and BackendUnreachable."""

    def sign_in_url(self, target: str) -> str | None:
        """Return the URL of a sign-in page that leads on to ``target``; ``None`` if there is none.

        ``target`` is a path and query of this site.
        """

    def sign_out_url(self, target: str = "") -> str:
        """Return the URL of the gateway's sign-out page; "" if users sign out elsewhere.

        The page leads on to ``target``, if it is given.
        """
