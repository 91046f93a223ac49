"""A browser at the gateway: its session cookie, its user, and where it signs in and out.

A browser that is shown a form gets a random session id in a cookie, whether or not its user is
signed in. The forms are bound to that id (:mod:`gateway.site.browser_form`). The store knows the
id only after its user has signed in with a password.
"""

from __future__ import annotations

import re

from werkzeug.wrappers import Response

from gateway.access.identity import IdentityHeaders
from gateway.config.settings import Settings
from gateway.http.header_policy import environ_key
from gateway.site.endpoint_request import EndpointRequest
from gateway.users.sign_in_method import Credentials, ResourceOwner, SignInMethod

_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{43}")


def session_cookie_name(issuer: str) -> str:
    """Return the cookie's name; under https its prefix pins the cookie to this host."""
    return "__Host-gateway_session" if issuer.startswith("https:") else "gateway_session"


class BrowserSessions:
    """Reads and writes the session cookie, and finds the browser's user."""

    def __init__(
        self, settings: Settings, sign_in: SignInMethod, identity: IdentityHeaders
    ) -> None:
        self._secure = settings.issuer.startswith("https:")
        self._cookie = session_cookie_name(settings.issuer)
        self._remote_user_key = (
            environ_key(settings.sign_in.remote_user.header)
            if settings.sign_in.remote_user.header
            else None
        )
        self._sign_in = sign_in
        self._identity = identity

    def session_id(self, request: EndpointRequest) -> str | None:
        """Return the browser's session id, ``None`` if it has none that the gateway could make."""
        value = request.cookie(self._cookie)
        return value if value is not None and _SESSION_ID.fullmatch(value) else None

    def current_user(self, request: EndpointRequest) -> ResourceOwner | None:
        """Return who is signed in. Raises StoreUnavailable and BackendUnreachable."""
        owner = self._sign_in.current_user(
            Credentials(
                self.session_id(request),
                self._remote_user(request),
                self._identity.without_own_cookies(request.environ.get("HTTP_COOKIE", "")),
            )
        )
        return owner if owner is not None and _survives_a_header(owner.name) else None

    def sign_in_url(self, target: str) -> str | None:
        """Return where the browser signs in before ``target``; ``None`` if no page does that."""
        return self._sign_in.sign_in_url(target)

    def sign_out_url(self, target: str = "") -> str:
        """Return where the browser signs out; "" if not at the gateway."""
        return self._sign_in.sign_out_url(target)

    def set_cookie(self, response: Response, session_id: str) -> None:
        """Set the session cookie: for this host, not for scripts, not on foreign POSTs."""
        response.set_cookie(
            self._cookie, session_id, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )

    def delete_cookie(self, response: Response) -> None:
        """Delete the session cookie."""
        response.delete_cookie(
            self._cookie, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )

    def _remote_user(self, request: EndpointRequest) -> str | None:
        """Return the name that the WSGI server or a trusted proxy gives."""
        if self._remote_user_key is None:
            name = request.environ.get("REMOTE_USER")
        elif request.from_trusted_proxy:
            name = request.environ.get(self._remote_user_key)
        else:
            return None
        if not name:
            return None
        try:
            # WSGI decodes the bytes as latin-1; a name is UTF-8.
            return str(name).encode("latin-1").decode("utf-8")
        except UnicodeError:
            # Unchanged: if a character were replaced, two names could become one.
            return str(name)


def _survives_a_header(name: str) -> bool:
    """Tell whether the backend, which gets the name in a header, sees exactly this name.

    A header loses the spaces around its value and cannot hold control characters, so " admin"
    would arrive as "admin".
    """
    return name.isprintable() and name == name.strip()
