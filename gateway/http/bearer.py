"""The bearer token in a request, and the challenge in a response (RFC 6750)."""

from __future__ import annotations

import re

# RFC 6750 §2.1: b64token. The limit is the gateway's own, whose tokens have 68 characters.
_BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]{1,512}=*)", re.IGNORECASE)
_BEARER_SCHEME = re.compile(r"bearer(?: |$)", re.IGNORECASE)


class MalformedBearer(Exception):  # noqa: N818 - says what it is
    """The Authorization header has the scheme Bearer and is not well-formed."""


def bearer_token(authorization: str | None) -> str | None:
    """Return the bearer token of an Authorization header, ``None`` if it has none.

    A token counts in no other place: not in the query, not in the body (RFC 9700 §4.3.2). Raises
    MalformedBearer, also for two headers, which WSGI joins with a comma.
    """
    if not authorization:
        return None
    bearer = _BEARER.fullmatch(authorization)
    if bearer is not None:
        return bearer.group(1)
    if _BEARER_SCHEME.match(authorization):
        raise MalformedBearer
    return None


def challenge(realm: str, error: str | None = None, description: str = "", scope: str = "") -> str:
    """Return a WWW-Authenticate value (RFC 6750 §3).

    It has no ``error`` if the client sent no credentials (§3.1). The arguments are words of the
    gateway and configured names, never the client's words.
    """
    attributes = {"realm": realm}
    if error is not None:
        attributes |= {"error": error, "error_description": description}
    if scope:
        attributes["scope"] = scope
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in attributes.items())
