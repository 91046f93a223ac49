"""Responses of the gateway's own endpoints: JSON for clients, pages for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from wsgiref.types import WSGIEnvironment

from werkzeug.datastructures import Headers
from werkzeug.wrappers import Response

from gateway.access.decisions import Denied, Unavailable
from gateway.site.pages import Page

# RFC 6749 §5.1: no cache keeps a response that may hold a token.
NO_STORE = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))


def json_response(
    members: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON object as a response that is never cached."""
    response = Response(
        # The newline is for people with curl.
        json.dumps(members, separators=(",", ":")) + "\n",
        status,
        mimetype="application/json",
    )
    response.headers.extend([*NO_STORE, ("X-Content-Type-Options", "nosniff")])
    response.headers.extend(headers or {})
    return response


def frappe_response(
    message: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the response of Frappe's revocation endpoint: to the letter, without a newline."""
    response = json_response({}, status, headers)
    response.data = json.dumps({"message": message}, separators=(",", ":"))
    return response


def error_response(
    status: int, error: str, description: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an error in the form of RFC 6749 §5.2."""
    return json_response({"error": error, "error_description": description}, status, headers)


def refusal_response(refusal: Denied | Unavailable, realm: str) -> Response:
    """Return the response to a request that must not go on (RFC 6750 §3)."""
    if isinstance(refusal, Unavailable):
        headers = {"Retry-After": str(refusal.retry_after)}
    else:
        challenge = refusal.challenge(realm)
        headers = {"WWW-Authenticate": challenge} if challenge else {}
    error = refusal.error or "unauthorized"
    return error_response(refusal.status, error, refusal.description, headers)


def page_response(page: Page, status: int = 200) -> Response:
    """Return a rendered page."""
    response = Response(page.body, status)
    for name, value in page.headers:
        response.headers[name] = value
    return response


class _Redirect(Response):
    """A redirect whose Location is sent as it is: the URI was compared character for character.

    werkzeug would normalize it, and fail at a URI that urlsplit or IDNA cannot read.
    """

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """Return the header fields of the response."""
        location = self.headers.pop("Location")
        headers = super().get_wsgi_headers(environ)
        headers["Location"] = self.headers["Location"] = location
        return headers


def redirect_response(location: str, status: int) -> Response:
    """Redirect the browser: 302 after a GET, 303 after a POST (never 307, RFC 9700 §4.12)."""
    response = _Redirect(b"", status)
    response.headers["Location"] = location
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers.extend(NO_STORE)
    return response
