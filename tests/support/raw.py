"""HTTP by the byte: what no client library sends, and every attacker can."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any

_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class RawResponse:
    """An answer: its status, its header fields in order, and its body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        """Return the body, which is JSON."""
        return json.loads(self.body)


def send(
    port: int, data: bytes, *, method: str = "GET", source: str = "127.0.0.1"
) -> RawResponse | None:
    """Send exact bytes to 127.0.0.1 from the address ``source``; return the first answer.

    ``None`` means that the server closed the connection without one. ``method`` only says
    whether an answer has a body.
    """
    with socket.create_connection(
        ("127.0.0.1", port), timeout=_TIMEOUT_SECONDS, source_address=(source, 0)
    ) as connection:
        # A server that has heard enough has answered all the same.
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        response = HTTPResponse(connection, method=method)
        try:
            response.begin()
            return RawResponse(response.status, tuple(response.getheaders()), response.read())
        except (HTTPException, ConnectionError):
            return None
        finally:
            response.close()


def request(
    port: int,
    target: str,
    *headers: str,
    method: str = "GET",
    body: bytes = b"",
    host: str | None = "gateway.test",
    source: str = "127.0.0.1",
) -> RawResponse:
    """Send a request with this very target and these header lines; return the answer.

    Strings hold one byte a character. Host, Content-Length and ``Connection: close`` are
    added, the last one unless there is another Connection line.
    """
    lines = [f"{method} {target} HTTP/1.1", *_added(headers, body, host), *headers]
    data = "\r\n".join((*lines, "", "")).encode("latin-1") + body
    response = send(port, data, method=method, source=source)
    assert response is not None, "the server closed the connection without an answer"
    return response


def _added(headers: tuple[str, ...], body: bytes, host: str | None) -> Iterable[str]:
    names = {line.partition(":")[0].lower() for line in headers}
    if host is not None:
        yield f"Host: {host}"
    if "connection" not in names:
        yield "Connection: close"
    if body and not names & {"content-length", "transfer-encoding"}:
        yield f"Content-Length: {len(body)}"
