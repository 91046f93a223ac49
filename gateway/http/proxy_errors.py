"""The responses of the reverse proxy itself, where there is none of the backend."""

from __future__ import annotations

import json
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{phrase}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"></head>
<body><main><h1>{phrase}</h1><p>{description}</p></main></body></html>
"""


#: Browsers send some 200 bytes. To parse a megabyte would take a second.
_ACCEPT_BYTES = 1024


class ProxyError(Exception):
    """A request that is not forwarded, or whose response cannot be handed on.

    The client gets ``status`` and ``description``, one sentence for people that quotes nothing of
    the request. ``retry_after`` is the value of the header of that name, in seconds.
    """

    def __init__(
        self, status: HTTPStatus, description: str, *, retry_after: int | None = None
    ) -> None:
        super().__init__(description)
        self.status = status
        self.description = description
        self.retry_after = retry_after

    @property
    def error(self) -> str:
        """The name for programs: ``bad_gateway`` for 502, and so on."""
        return self.status.phrase.lower().replace(" ", "_").replace("-", "_")


def bad_request(description: str) -> ProxyError:
    """400: servers could read the request in more than one way, or in none."""
    return ProxyError(HTTPStatus.BAD_REQUEST, description)


def respond(
    error: ProxyError, environ: WSGIEnvironment, start_response: StartResponse
) -> list[bytes]:
    """Respond with ``error`` as JSON, or as a page if the client prefers HTML."""
    accepted = parse_accept_header(_beginning(environ.get("HTTP_ACCEPT", "")), MIMEAccept)
    best = accepted.best_match(["application/json", "text/html"], default="application/json")
    if best == "text/html":
        body = _PAGE.format(phrase=error.status.phrase, description=error.description).encode()
        kind = "text/html; charset=utf-8"
    else:
        members = {"error": error.error, "error_description": error.description}
        body = json.dumps(members).encode()
        kind = "application/json"
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    start_response(f"{error.status.value} {error.status.phrase}", headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _beginning(accept: str) -> str:
    """Return the media ranges within the first bytes of an Accept field."""
    if len(accept) <= _ACCEPT_BYTES:
        return accept
    return accept[:_ACCEPT_BYTES].rpartition(",")[0]
