"""A browser at the gateway: its cookies, its user, and where it signs in and out.

A browser has three cookies. The browser id is set with the first form, and the forms of the browser
are bound to it (:mod:`gateway.site.browser_form`). It stays when somebody signs in or out, so a
form in another tab still works. The session id is set when a user signs in with a password, and is
new each time; the store knows this id alone. The third cookie proves that a user signed in here
before (:mod:`gateway.site.known_browser`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from werkzeug.wrappers import Response

from gateway.access.identity import IdentityHeaders
from gateway.config.settings import Settings
from gateway.http.header_policy import environ_key
from gateway.site.endpoint_request import EndpointRequest
from gateway.users.sign_in_method import Credentials, ResourceOwner, SignInMethod

_ID = re.compile(r"[A-Za-z0-9_-]{43}")

# More cookies of one name than honest paths and domains can set. Each one costs a look-up.
_MOST_COOKIES = 4

# Browsers keep no cookie for longer (RFC 6265bis §5.5).
_KNOWN_SECONDS = 400 * 86_400

logger = logging.getLogger("gateway.sign_in")

StartResponse = Callable[..., Any]


def session_cookie_name(settings: Settings) -> str:
    """Return the name of the session cookie; under https its prefix pins it to this host."""
    prefix = "__Host-" if settings.issuer.startswith("https:") else ""
    return prefix + settings.sign_in.cookie_name


def browser_cookie_name(settings: Settings) -> str:
    """Return the name of the cookie with the browser id."""
    return session_cookie_name(settings) + "_browser"


def known_cookie_name(settings: Settings) -> str:
    """Return the name of the cookie that proves an earlier sign-in."""
    return session_cookie_name(settings) + "_known"


def own_cookie_names(settings: Settings) -> tuple[str, ...]:
    """Return the names of the cookies that the gateway alone may set and read."""
    session = session_cookie_name(settings)
    return session, browser_cookie_name(settings), known_cookie_name(settings)


def without_own_cookies(start_response: StartResponse, names: Iterable[str]) -> StartResponse:
    """Return a ``start_response`` for the backend: it cannot set the gateway's cookies."""
    own = frozenset(name.lower() for name in names)

    def start(status: str, headers: Sequence[tuple[str, str]], *more: Any) -> Any:
        kept = [each for each in headers if not _sets_own_cookie(*each, own)]
        return start_response(status, kept, *more)

    return start


def _sets_own_cookie(name: str, value: str, own: frozenset[str]) -> bool:
    if name.lower() != "set-cookie":
        return False
    # Some browsers send `=name=value`, a cookie without a name, back as `name=value`.
    cookie_name = value.lstrip("= \t").partition(";")[0].partition("=")[0]
    return cookie_name.strip(" \t").lower() in own


class BrowserSessions:
    """Reads and writes a browser's cookies, and finds its user."""

    def __init__(
        self, settings: Settings, sign_in: SignInMethod, identity: IdentityHeaders
    ) -> None:
        self._issuer = settings.issuer
        self._has_warned = False
        self._secure = settings.issuer.startswith("https:")
        self._session_cookie = session_cookie_name(settings)
        self._browser_cookie = browser_cookie_name(settings)
        self._known_cookie = known_cookie_name(settings)
        self._remote_user_key = (
            environ_key(settings.sign_in.remote_user.header)
            if settings.sign_in.remote_user.header
            else None
        )
        self._sign_in = sign_in
        self._identity = identity

    def fault_of_scheme(self, request: EndpointRequest) -> str | None:
        """Return what is wrong if a page comes over http while the issuer is https.

        A browser keeps no Secure cookie from http, so nobody can sign in there.
        """
        if not self._secure or not request.is_over_http:
            return None
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "a sign-in page was asked for over http, but the issuer is %s: the browser keeps no"
                " cookie; a server in front must send X-Forwarded-Proto, from trusted_proxies",
                self._issuer,
            )
        return (
            f"This page came over http. Signing in works at {self._issuer} alone: over http, your"
            " browser keeps no cookie of this site."
        )

    def session_ids(self, request: EndpointRequest) -> tuple[str, ...]:
        """Return the session ids that the browser sends, as far as the gateway could make them.

        A path or a parent domain may have set a second cookie of that name. The store tells which
        of them is a session.
        """
        return _ids(request, self._session_cookie)

    def browser_ids(self, request: EndpointRequest) -> tuple[str, ...]:
        """Return the browser ids that the browser sends; usually it is one, or none yet."""
        return _ids(request, self._browser_cookie)

    def current_user(self, request: EndpointRequest) -> ResourceOwner | None:
        """Return who is signed in. Raises StoreUnavailable and BackendUnreachable."""
        owner = self._sign_in.current_user(
            Credentials(
                self.session_ids(request),
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

    def set_session_id(self, response: Response, session_id: str) -> None:
        """Set the session cookie."""
        self._set_cookie(response, self._session_cookie, session_id)

    def set_browser_id(self, response: Response, browser_id: str) -> None:
        """Set the cookie with the browser id."""
        self._set_cookie(response, self._browser_cookie, browser_id)

    def known_proofs(self, request: EndpointRequest) -> tuple[str, ...]:
        """Return the proofs of an earlier sign-in that the browser sends."""
        return request.cookies(self._known_cookie)[:_MOST_COOKIES]

    def set_known_proof(self, response: Response, proof: str) -> None:
        """Set the cookie that proves this sign-in; it outlasts the session."""
        self._set_cookie(response, self._known_cookie, proof, _KNOWN_SECONDS)

    def _set_cookie(
        self, response: Response, name: str, value: str, max_age: int | None = None
    ) -> None:
        # For this host, not for scripts, and not sent with the POST of a foreign page.
        response.set_cookie(
            name, value, max_age, path="/", secure=self._secure, httponly=True, samesite="Lax"
        )

    def delete_session_id(self, response: Response) -> None:
        """Delete the session cookie."""
        response.delete_cookie(
            self._session_cookie, path="/", secure=self._secure, httponly=True, samesite="Lax"
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


def _ids(request: EndpointRequest, cookie: str) -> tuple[str, ...]:
    values = dict.fromkeys(request.cookies(cookie))
    return tuple(filter(_ID.fullmatch, values))[:_MOST_COOKIES]


def _survives_a_header(name: str) -> bool:
    """Tell whether the backend, which gets the name in a header, sees exactly this name.

    A header loses the spaces around its value and cannot hold control characters, so " admin"
    would arrive as "admin".
    """
    return name.isprintable() and name == name.strip()
