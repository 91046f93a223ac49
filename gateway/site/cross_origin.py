"""What scripts of pages of other origins may send and read (Fetch, CORS protocol)."""

from __future__ import annotations

from collections.abc import Iterable
from wsgiref.types import WSGIEnvironment

from gateway.http.header_policy import fold, is_field_name

#: The headers of a response that a script may read, beyond those that it always may.
EXPOSED = ("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")

#: For the endpoints that scripts of any origin may call (RFC 9700 §2.6 lets them ask for tokens).
#: These endpoints read no cookie, so there is nothing that another origin could borrow.
ANY_ORIGIN = (("Access-Control-Allow-Origin", "*"), EXPOSED)

_USUAL_HEADERS = ("Authorization", "Content-Type")
# Each request names a few. A longer list is no preflight of a browser.
_MOST_HEADERS = 64


def preflight_headers(environ: WSGIEnvironment) -> list[tuple[str, str]]:
    """Return the answer to a preflight request: any header may be sent (Fetch §4.8).

    Libraries send headers of their own (``DPoP``, ``MCP-Protocol-Version``). ``*`` would not do:
    it allows no Authorization.
    """
    asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "").split(",", _MOST_HEADERS)
    names = filter(is_field_name, map(str.strip, asked[:_MOST_HEADERS]))
    allowed = {fold(name): name for name in (*names, *_USUAL_HEADERS)}
    return [
        ("Access-Control-Allow-Methods", "GET, POST"),
        ("Access-Control-Allow-Headers", ", ".join(allowed.values())),
        ("Access-Control-Max-Age", "86400"),
        ("Vary", "Access-Control-Request-Headers"),
    ]


class CrossOrigin:
    """Lets scripts of the configured origins read why the gateway refuses a request."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def headers(self, environ: WSGIEnvironment) -> list[tuple[str, str]]:
        """Return the headers to add to a refusal of this request.

        A refusal tells nothing of the user, so a script may read it with credentials, too.
        """
        if not self._origins:
            return []
        vary = ("Vary", "Origin")
        origin = environ.get("HTTP_ORIGIN", "")
        if origin not in self._origins:
            return [vary]
        allowed = ("Access-Control-Allow-Origin", origin)
        return [allowed, ("Access-Control-Allow-Credentials", "true"), EXPOSED, vary]
