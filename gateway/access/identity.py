"""Who asks, told to the backend in headers that it can trust.

What a client sends under these names is removed in every spelling, on public routes too:
WSGI folds ``X_Forwarded_User`` and ``X-Forwarded-User`` into one key, so one key covers them.
Some backends fold more than that (``X-Forwarded.User``), so such keys go as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gateway.config.settings import Identity
from gateway.tokens.grant import AccessToken

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
    "X-Forwarded-Path",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Original-Method",
    "X-Original-URI",
    "X-Script-Name",
)

# A key with a character that is left alone by WSGI's folding, and not by every backend's;
# sought in all keys at once, since every request pays for it.
_ODD_KEY = re.compile(r"\n(HTTP_[A-Z0-9_]*+[^A-Z0-9_\n].*)")
_ODD_CHARACTER = re.compile(r"[^A-Z0-9]")


def environ_key(header: str) -> str:
    """Return the WSGI key of a request header."""
    return "HTTP_" + header.upper().replace("-", "_")


class IdentityHeaders:
    """Removes identity from outside and writes the gateway's own."""

    def __init__(
        self, names: Identity, remote_user_header: str, cookie_names: Iterable[str]
    ) -> None:
        self._names = (names.user, names.client, names.scope)
        self._cookie_names = frozenset(cookie_names)
        removed = [names.user, names.client, names.scope, *_ALWAYS_REMOVED]
        if remote_user_header:
            removed.append(remote_user_header)
        self._removed = frozenset(map(_folded, map(environ_key, removed)))
        self._removed_from_strangers = self._removed.union(map(environ_key, _PROXYS_TO_SAY))

    def remove(self, environ: dict[str, Any], *, from_trusted_proxy: bool) -> None:
        """Remove from ``environ`` all that a client could pass off as the gateway's word."""
        removed = self._removed if from_trusted_proxy else self._removed_from_strangers
        for key in removed:
            environ.pop(key, None)
        for key in _ODD_KEY.findall("\n".join(("", *environ))):
            if _folded(key) in removed:
                del environ[key]
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
        return "; ".join(filter(None, map(self._without_own, cookie.split(";"))))

    def _without_own(self, pair: str) -> str:
        # Servers join repeated Cookie lines with commas.
        return ",".join(
            part
            for part in pair.strip(" \t").split(",")
            if part.partition("=")[0].strip(' \t"') not in self._cookie_names
        )

    def headers(self, token: AccessToken) -> tuple[tuple[str, str], ...]:
        """Return the headers that say who asks, as the bytes-in-latin-1 that WSGI wants."""
        values = zip(self._names, (token.user, token.client_id, token.scope), strict=True)
        return tuple((name, _header_value(value)) for name, value in values if value)


def _folded(key: str) -> str:
    return _ODD_CHARACTER.sub("_", key.upper())


def _header_value(value: str) -> str:
    # A name is UTF-8 on the wire. Control characters cannot be in one that signed in here, and
    # must never reach a header all the same; if they were left out, two names could become one.
    if not value.isprintable():
        value = "".join(each if each.isprintable() else "?" for each in value)
    return value if value.isascii() else value.encode().decode("latin-1")
