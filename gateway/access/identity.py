"""Who asks, told to the backend in headers that it can trust.

A client's own headers of these names are removed in every spelling, on public routes too, and so
are the names that other authentication proxies use, and those of ``identity.remove``. WSGI folds
``X_Forwarded_User`` and ``X-Forwarded-User`` into one key, so one key covers both. Some backends
fold more than that (``X-Forwarded.User``), so such keys go as well.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

from gateway.config.settings import Identity
from gateway.http.bounded_cache import BoundedCache
from gateway.http.header_policy import (
    TRUSTED_PROXY_ONLY,
    environ_key,
    fold,
    is_never_from_clients,
)
from gateway.tokens.grant import AccessToken
from gateway.tokens.token import has_token

# Anywhere, since WSGI joins repeated header lines with a comma.
_BEARER = re.compile(r"(?:^|[,\s])bearer(?:[,\s]|$)", re.IGNORECASE)
_BASIC = re.compile(r"basic[ \t]+([A-Za-z0-9+/]+=*)", re.IGNORECASE)


def is_for_backend(authorization: str) -> bool:
    """Tell whether credentials on a public route are the backend's own business.

    The gateway reads bearer tokens alone (RFC 6750), so another scheme is meant for the backend.
    No token of the gateway's goes there, whatever scheme a client writes before it.
    """
    if _BEARER.search(authorization) or has_token(authorization):
        return False
    return not any(map(_has_hidden_token, _BASIC.findall(authorization)))


def _has_hidden_token(encoded: str) -> bool:
    """Tell whether the user name or the password of Basic is a token (RFC 7617 §2)."""
    try:
        return has_token(b64decode(encoded + "==").decode("latin-1"))
    except binascii.Error:
        return False


class _Claims(BoundedCache[str]):
    """From a WSGI key to itself if its header is removed, otherwise to ''.

    Every request pays for the look-up, so it is one for each of its keys and no more.
    """

    def __init__(self, removed: frozenset[str]) -> None:
        super().__init__()
        self._removed = removed

    def compute(self, key: str) -> str:
        """Tell whether a header with this key, in any spelling, is removed."""
        if not key.startswith("HTTP_"):
            return ""
        folded = fold(key[5:])
        return key if folded in self._removed or is_never_from_clients(folded) else ""


class IdentityHeaders:
    """Removes identity from outside and writes the gateway's own.

    ``remote_user_header`` is the header in which a trusted proxy names the user, '' if there is
    none. ``cookie_names`` are the gateway's own cookies.
    """

    def __init__(
        self, names: Identity, remote_user_header: str, cookie_names: Iterable[str]
    ) -> None:
        self._names = (names.user, names.client, names.scope)
        self._keys = {name: environ_key(name) for name in self._names}
        self._cookie_names = frozenset(cookie_names)
        own = (*self._names, *names.remove, remote_user_header)
        never = frozenset(map(fold, filter(None, own)))
        self._claims_of_proxies = _Claims(never)
        self._claims_of_clients = _Claims(never | TRUSTED_PROXY_ONLY)

    def remove(self, environ: dict[str, Any], *, from_trusted_proxy: bool) -> None:
        """Remove from ``environ`` all that a client could pass off as the gateway's word."""
        claims = self._claims_of_proxies if from_trusted_proxy else self._claims_of_clients
        for key in [key for key in environ if claims[key]]:
            del environ[key]
        environ.pop("REMOTE_USER", None)
        environ.pop("AUTH_TYPE", None)
        self._remove_own_cookies(environ)

    def _remove_own_cookies(self, environ: dict[str, Any]) -> None:
        cookie = environ.get("HTTP_COOKIE")
        if cookie is None:
            return
        if others := self.without_own_cookies(cookie):
            environ["HTTP_COOKIE"] = others
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

    def write(self, environ: dict[str, Any], token: AccessToken | None) -> None:
        """Tell the application who asks; without a token nobody does.

        The names are those of ``OAuthGateway``. The reverse proxy sends the headers of
        ``gateway.identity_headers`` last: no Connection field of the client's can remove them.
        """
        headers = () if token is None else self.headers(token)
        environ["gateway.identity_headers"] = headers
        if token is None:
            return
        environ["gateway.token"] = token
        for name, value in headers:
            environ[self._keys[name]] = value
        if token.user is not None:
            environ["REMOTE_USER"] = token.user
            environ["AUTH_TYPE"] = "Bearer"

    def headers(self, token: AccessToken) -> tuple[tuple[str, str], ...]:
        """Return the headers that say who asks, as the bytes-in-Latin-1 that WSGI wants."""
        values = (token.user, token.client_id, token.scope)
        pairs = zip(self._names, values, strict=True)
        return tuple([(name, _header_value(value)) for name, value in pairs if value])


def _header_value(value: str) -> str:
    # A name is UTF-8 on the wire. A user who signed in here has no control characters in the
    # name, and none must reach a header. To leave them out could make one name of two.
    if not value.isprintable():
        value = "".join(each if each.isprintable() else "?" for each in value)
    return value if value.isascii() else value.encode().decode("latin-1")
