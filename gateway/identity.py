"""Who asks, told to the backend in headers that it can trust.

What a client sends under these names is removed in every spelling, on public routes too:
WSGI folds ``X_Forwarded_User`` and ``X-Forwarded-User`` into one key, so one key covers them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.config import Identity
from gateway.token_store import AccessToken

# The default names go whatever the configured ones are: a backend may know them by heart.
# The others ask the backend to take the request for another one than was judged.
_ALWAYS_REMOVED = (
    "X-Forwarded-User",
    "X-Forwarded-Client",
    "X-Forwarded-Scope",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Original-URL",
    "X-Rewrite-URL",
)

# What a proxy in front may say, and nobody else.
_PROXYS_TO_SAY = (
    "X-Forwarded-Method",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Original-Method",
    "X-Original-URI",
)


def environ_key(header: str) -> str:
    """Return the WSGI key of a request header."""
    return "HTTP_" + header.upper().replace("-", "_")


class IdentityHeaders:
    """Removes identity from outside and writes the gateway's own."""

    def __init__(
        self, names: Identity, remote_user_header: str, cookie_names: Iterable[str]
    ) -> None:
        self._names = names
        self._cookie_names = frozenset(cookie_names)
        removed = [names.user, names.client, names.scope, *_ALWAYS_REMOVED]
        if remote_user_header:
            removed.append(remote_user_header)
        self._removed = tuple(environ_key(name) for name in removed)
        self._proxys_to_say = tuple(environ_key(name) for name in _PROXYS_TO_SAY)

    def remove(self, environ: dict[str, Any], *, from_trusted_proxy: bool) -> None:
        """Remove from ``environ`` all that a client could pass off as the gateway's word."""
        for key in self._removed:
            environ.pop(key, None)
        if not from_trusted_proxy:
            for key in self._proxys_to_say:
                environ.pop(key, None)
        environ.pop("REMOTE_USER", None)
        environ.pop("AUTH_TYPE", None)
        cookie = environ.get("HTTP_COOKIE")
        if cookie is not None:
            left = self.without_own_cookies(cookie)
            if left:
                environ["HTTP_COOKIE"] = left
            else:
                del environ["HTTP_COOKIE"]

    def without_own_cookies(self, cookie: str) -> str:
        """Return a Cookie header without the gateway's own cookies."""
        if not any(name in cookie for name in self._cookie_names):
            return cookie
        pairs = (pair.strip() for pair in cookie.split(";"))
        return "; ".join(
            pair for pair in pairs if pair.partition("=")[0].strip(' \t"') not in self._cookie_names
        )

    def headers(self, token: AccessToken) -> tuple[tuple[str, str], ...]:
        """Return the headers that say who asks, as the bytes-in-latin-1 that WSGI wants."""
        names = self._names
        values = (
            (names.user, token.user),
            (names.client, token.client_id),
            (names.scope, token.scope),
        )
        return tuple((name, _header_value(value)) for name, value in values if value)


def _header_value(value: str) -> str:
    # A name is UTF-8 on the wire. Control characters cannot be in one that signed in here,
    # and must never reach a header if a remote_user method let them in.
    if not value.isprintable():
        value = "".join(character for character in value if character.isprintable())
    return value if value.isascii() else value.encode().decode("latin-1")
