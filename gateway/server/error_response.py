"""The response to a request that the standalone server could not parse or answer.

It quotes nothing of the request, has a Date, and is JSON or a page, as the client asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from gateway.http.proxy_errors import ProxyError, respond

_DESCRIPTIONS = {
    HTTPStatus.BAD_REQUEST: "The request is malformed.",
    HTTPStatus.REQUEST_TIMEOUT: "The request took too long to arrive.",
    HTTPStatus.REQUEST_URI_TOO_LONG: "The request target is too long.",
    HTTPStatus.EXPECTATION_FAILED: "The only expectation that can be met is 100-continue.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "The header fields are too large or too many.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The gateway failed.",
    HTTPStatus.NOT_IMPLEMENTED: "The only transfer coding is chunked.",
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: "The gateway speaks HTTP/1.1.",
}
_ACCEPT = re.compile(rb"\r\naccept:([\t -~]*)\r\n", re.IGNORECASE)


def environ_of_refused(head: bytes) -> dict[str, Any]:
    """Return the keys of an environ that :func:`error_response` reads, from a malformed head."""
    accept = _ACCEPT.search(head)
    return {
        "REQUEST_METHOD": "HEAD" if head.startswith(b"HEAD ") else "GET",
        "HTTP_ACCEPT": accept[1].decode("latin-1").strip(" \t") if accept else "",
    }


def error_response(status: HTTPStatus, environ: dict[str, Any]) -> bytes:
    """Return the whole response with ``status``, after which the connection closes."""
    lines: list[str] = []
    body: list[bytes] = []

    def start_response(
        line: str, headers: list[tuple[str, str]], *_: object
    ) -> Callable[[bytes], object]:
        lines.append(f"HTTP/1.1 {line}")
        lines.extend(f"{name}: {value}" for name, value in headers)
        return body.append

    body += respond(ProxyError(status, _DESCRIPTIONS[status]), environ, start_response)
    lines += [f"Date: {formatdate(usegmt=True)}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + b"".join(body)
