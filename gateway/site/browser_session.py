"""One browser at the gateway: its session cookie, its user, and proof that a form was ours.

Every browser that is shown a form has a random session id in a cookie. Signed in or not,
that id is what forms are bound to; the store knows it only once somebody has signed in. The
proof in a form is an HMAC over the id, the user and all that the form shows, so it holds no
state: two pages open at once both work, and neither works for another browser, another user
or other parameters.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from werkzeug.wrappers import Response

from gateway.access.identity import IdentityHeaders
from gateway.config.settings import Settings
from gateway.http.header_policy import environ_key
from gateway.site.endpoint_request import EndpointRequest
from gateway.tokens.token import TokenKeys, new_secret
from gateway.users.sign_in import Credentials, ResourceOwner, ResourceOwners

_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{43}")


def session_cookie_name(issuer: str) -> str:
    """Return the cookie's name: with the prefix that pins it to this host, under https."""
    return "__Host-gateway_session" if issuer.startswith("https:") else "gateway_session"


class BrowserSessions:
    """Reads and writes what the gateway keeps in browsers."""

    def __init__(
        self,
        settings: Settings,
        keys: TokenKeys,
        owners: ResourceOwners,
        identity: IdentityHeaders,
    ) -> None:
        self._secure = settings.issuer.startswith("https:")
        self._cookie = session_cookie_name(settings.issuer)
        self._sign_in = settings.sign_in
        self._sign_in_path = settings.endpoints.sign_in[0]
        self._remote_user_key = (
            environ_key(settings.sign_in.remote_user.header)
            if settings.sign_in.remote_user.header
            else None
        )
        self._keys = keys
        self._owners = owners
        self._identity = identity

    def session_id(self, request: EndpointRequest) -> str | None:
        """Return the browser's session id, ``None`` if it has none of our making."""
        value = request.cookie(self._cookie)
        return value if value is not None and _SESSION_ID.fullmatch(value) else None

    def current_user(self, request: EndpointRequest) -> ResourceOwner | None:
        """Return who is signed in. Raises StoreUnavailable and BackendUnreachable."""
        owner = self._owners.current_user(
            Credentials(
                self.session_id(request),
                self._remote_user(request),
                self._identity.without_own_cookies(request.environ.get("HTTP_COOKIE", "")),
            )
        )
        return owner if owner is not None and _is_tellable(owner.name) else None

    def _remote_user(self, request: EndpointRequest) -> str | None:
        if self._remote_user_key is None:
            name = request.environ.get("REMOTE_USER")
        elif request.from_trusted_proxy:
            name = request.environ.get(self._remote_user_key)
        else:
            return None
        if not name:
            return None
        try:
            # WSGI gives the bytes as latin-1; a name is UTF-8.
            return str(name).encode("latin-1").decode("utf-8")
        except UnicodeError:
            # As it is: with any character replaced, two names could become one.
            return str(name)

    def with_session(self, request: EndpointRequest) -> tuple[str, bool]:
        """Return the session id to bind a form to, and whether the browser must be given it."""
        known = self.session_id(request)
        return (known, False) if known is not None else (new_secret(), True)

    def set_cookie(self, response: Response, session_id: str) -> None:
        """Set the session cookie: for this host, not for scripts, not on foreign posts."""
        response.set_cookie(
            self._cookie, session_id, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )

    def delete_cookie(self, response: Response) -> None:
        """Delete the session cookie."""
        response.delete_cookie(
            self._cookie, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )

    def form_token(self, session_id: str, form: str, *context: str) -> str:
        """Return the proof that ``form`` was shown to this browser in this context."""
        return self._keys.newest.form_token(form, session_id, *context)

    def is_form_token(
        self, request: EndpointRequest, form_token: str | None, form: str, *context: str
    ) -> bool:
        """Tell whether a posted form is one that this browser was shown in this context."""
        session_id = self.session_id(request)
        if session_id is None or form_token is None:
            return False
        return self._keys.is_form_token(form_token, form, session_id, *context)

    def sign_in_url(self, target: str) -> str | None:
        """Return where to sign in and come back to ``target``; ``None`` if not in our hands."""
        escaped = quote(target, safe="")
        if self._sign_in.method == "password":
            return f"{self._sign_in_path}?next={escaped}"
        if self._sign_in.method == "upstream_session":
            return self._sign_in.upstream_session.login_url.replace("{next}", escaped)
        return None


def _is_tellable(name: str) -> bool:
    # A header loses the spaces around a value, and cannot have control characters: the backend
    # would be told of " admin" and of "admin" alike.
    return name.isprintable() and name == name.strip()
