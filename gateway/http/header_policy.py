"""The one header policy: which header fields cross the gateway, and in which direction.

The lists of names that are removed, refused or written stand here. A name is compared in its
folded spelling (:func:`fold`), because WSGI makes one key of ``X-A`` and ``X_A``, and some
backends make one name of ``X-A`` and ``X.A`` as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.http.bounded_cache import BoundedCache

#: RFC 9110 §5.6.2. A field name is a token (§5.1), and so is a method (§9.1).
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
#: RFC 9110 §5.5, as bytes in Latin-1. A reason phrase has the same grammar (RFC 9112 §4).
FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")
#: What RFC 9110 §5.5 forbids in a field value.
CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

#: A message to or from the backend never has these: they end with the connection (RFC 9110
#: §7.6.1), or are for the next proxy (§11.7). ``HTTP2-Settings`` belongs to ``Upgrade: h2c``.
HOP_BY_HOP = frozenset(
    {
        "CONNECTION",
        "HTTP2_SETTINGS",
        "KEEP_ALIVE",
        "PROXY_AUTHENTICATE",
        "PROXY_AUTHENTICATION_INFO",
        "PROXY_AUTHORIZATION",
        "PROXY_CONNECTION",
        "TE",
        "TRAILER",
        "TRANSFER_ENCODING",
        "UPGRADE",
    }
)

#: Nobody may set these: they frame a message or belong to one connection (RFC 9112 §6).
FRAMING = HOP_BY_HOP | {"CONTENT_LENGTH", "EXPECT"}

#: The reverse proxy writes these itself, so the client's own never stand beside them. The server
#: in front has answered ``Expect``, so the backend never gets it. Nor does it get ``Proxy``, which
#: would become HTTP_PROXY in a CGI program.
WRITTEN_BY_GATEWAY = frozenset(
    {
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "EXPECT",
        "FORWARDED",
        "HOST",
        "PROXY",
        "VIA",
        "X_FORWARDED_FOR",
        "X_FORWARDED_HOST",
        "X_FORWARDED_PROTO",
    }
)

#: A backend may know these by heart, whatever names are configured: the default identity headers,
#: those of other authentication proxies, and those that tell of a client certificate (RFC 9440).
_CLAIMS_OF_IDENTITY = frozenset(
    {"X_FORWARDED_CLIENT", "X_FORWARDED_SCOPE", "X_FORWARDED_USER"}
    | {"AUTH_USER", "LOGON_USER", "REMOTE_USER"}
    | {"X_AUTHENTICATED_USER", "X_AUTH_USER", "X_REMOTE_USER"}
    | {"REMOTE_EMAIL", "REMOTE_GROUPS", "REMOTE_NAME"}
    | {"X_FORWARDED_EMAIL", "X_FORWARDED_GROUPS", "X_FORWARDED_PREFERRED_USERNAME"}
    | {"CLIENT_CERT", "CLIENT_CERT_CHAIN", "X_CLIENT_CERT", "X_FORWARDED_CLIENT_CERT"}
    | {"TRUE_CLIENT_IP"}
)
_CLAIMS_OF_IDENTITY_BEGINNINGS = (
    *("X_AUTH_REQUEST_", "X_WEBAUTH_", "X_AUTHENTIK_", "X_AMZN_OIDC_"),
    *("X_GOOG_AUTHENTICATED_USER_", "X_MS_CLIENT_PRINCIPAL"),
    *("SSL_CLIENT_", "X_SSL_CLIENT_"),
)

#: The backend gets these from nobody but the gateway, not even from a trusted proxy, which may
#: let the client's own through. The last ones ask the backend to take the request for another one
#: than was judged.
NEVER_FROM_CLIENTS = _CLAIMS_OF_IDENTITY | frozenset(
    {
        "X_HTTP_METHOD",
        "X_HTTP_METHOD_OVERRIDE",
        "X_METHOD_OVERRIDE",
        "X_ORIGINAL_URL",
        "X_REWRITE_URL",
    }
)

#: The backend gets these from a trusted proxy alone: they name another address than the client's,
#: or another method, path or prefix than was judged.
TRUSTED_PROXY_ONLY = frozenset(
    {
        "CF_CONNECTING_IP",
        "CLIENT_IP",
        "FASTLY_CLIENT_IP",
        "X_CLIENT_IP",
        "X_CLUSTER_CLIENT_IP",
        "X_FORWARDED_METHOD",
        "X_FORWARDED_PATH",
        "X_FORWARDED_PREFIX",
        "X_FORWARDED_URI",
        "X_ORIGINAL_METHOD",
        "X_ORIGINAL_URI",
        "X_SCRIPT_NAME",
    }
)

#: So is every name that begins like this, where the gateway is the reverse proxy. A wrapped
#: application has a server of its own, which knows its proxies and reads X-Forwarded-For.
TRUSTED_PROXY_ONLY_BEGINNINGS = ("X_FORWARDED_", "X_ORIGINAL_", "X_REWRITE_", "X_REAL_IP")

#: These hold the client's credentials.
CREDENTIALS = frozenset({"AUTHORIZATION", "COOKIE"})

#: An identity header must have none of these names: they mean something else already.
NOT_FOR_IDENTITY = FRAMING | WRITTEN_BY_GATEWAY | CREDENTIALS

#: The reverse proxy and the verify endpoint refuse these. TRACE would show the client what only
#: the backend is told (RFC 9110 §9.3.8). CONNECT is for tunnels (§9.3.6).
REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})

_USUAL_CONNECTION = frozenset({"", "close", "keep-alive"})
_NOT_FOLDED = re.compile(r"[^A-Z0-9]")


def fold(name: str) -> str:
    """Return the one spelling that a header name shares with all its other spellings."""
    return _NOT_FOLDED.sub("_", name.upper())


def environ_key(name: str) -> str:
    """Return the WSGI key of a request header (PEP 3333)."""
    return "HTTP_" + name.upper().replace("-", "_")


def is_field_name(name: str) -> bool:
    """Tell whether a header field may have this name (RFC 9110 §5.1)."""
    return TOKEN.fullmatch(name) is not None


def is_field_value(value: str) -> bool:
    """Tell whether a header field may have this value, bytes in Latin-1 (RFC 9110 §5.5)."""
    return FIELD_VALUE.fullmatch(value) is not None


def is_method(method: str) -> bool:
    """Tell whether a request may have this method (RFC 9110 §9.1)."""
    return TOKEN.fullmatch(method) is not None


def connection_options(value: str) -> frozenset[str]:
    """Return the header names that a Connection field lists, folded (RFC 9110 §7.6.1).

    ``close`` and ``keep-alive`` name no header field, so they are left out.
    """
    if value.lower() in _USUAL_CONNECTION:
        return frozenset()
    options = {fold(option.strip(" \t")) for option in value.split(",")}
    return frozenset(options - {"", "CLOSE", "KEEP_ALIVE"})


def is_never_from_clients(folded: str) -> bool:
    """Tell whether the backend never gets a header of this folded name from outside."""
    return folded in NEVER_FROM_CLIENTS or folded.startswith(_CLAIMS_OF_IDENTITY_BEGINNINGS)


class RequestNames(BoundedCache[str]):
    """From a WSGI key to the beginning of its line to the backend, '' if it is not forwarded.

    ``dropped`` are more names, in any spelling, that the client must not send. ``trusted`` tells
    whether the request comes from a trusted proxy.
    """

    def __init__(self, dropped: Iterable[str] = (), *, trusted: bool = False) -> None:
        super().__init__()
        self._dropped = frozenset(map(fold, dropped))
        self._trusted = trusted

    def without(self, names: Iterable[str]) -> RequestNames:
        """Return a table that drops ``names`` as well."""
        return RequestNames(self._dropped.union(names), trusted=self._trusted)

    def compute(self, key: str) -> str:
        """Return the beginning of the line of ``key``."""
        if key == "CONTENT_TYPE":
            return "" if key in self._dropped else "Content-Type: "
        name = key[5:]
        if not key.startswith("HTTP_") or not is_field_name(name) or self._drops(fold(name)):
            return ""
        return "-".join(part.capitalize() for part in name.split("_")) + ": "

    def _drops(self, folded: str) -> bool:
        if folded in HOP_BY_HOP or folded in WRITTEN_BY_GATEWAY or folded in self._dropped:
            return True
        return not self._trusted and folded.startswith(TRUSTED_PROXY_ONLY_BEGINNINGS)


class ResponseNames(BoundedCache[bytes]):
    """From a header name of the backend's response to the client's, '' if it is hop-by-hop."""

    def compute(self, name: bytes) -> str:
        """Return the name as WSGI has it."""
        text = name.decode("latin-1")
        return "" if fold(text) in HOP_BY_HOP else text
