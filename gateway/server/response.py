"""A response on its way to the client of the standalone server."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache

from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidResponseHeader, InvalidResponseHeaderName

from gateway.http.bounded_cache import BoundedCache
from gateway.http.header_policy import HOP_BY_HOP, fold, is_field_name, is_field_value
from gateway.proxy.upstream_response import InterimResponse
from gateway.server.connection import Connection
from gateway.server.request import ClientRequest


class _LowerCase(BoundedCache[str]):
    """From a name to its lower case, "" if the application may not set it."""

    def compute(self, name: str) -> str:
        if not is_field_name(name):
            raise InvalidResponseHeaderName(repr(name))
        return "" if fold(name) in HOP_BY_HOP else name.lower()


_LOWER_CASE = _LowerCase()
#: The server looks at these, or writes them itself where the application does not. A proxied
#: backend's own Date and Server reach the client (RFC 9110 §6.6.1 and §10.2.4).
_NOTED = frozenset({"content-length", "date", "server"})


@lru_cache(maxsize=1)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


class ClientResponse(wsgi.Response):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's response, whose head goes out in one piece with the beginning of its body.

    ``must_close`` tells, when the head is due, whether the connection ends with this response
    though the client would keep it. ``closes`` tells whether the connection ends, once the head is
    written. Before that it is true.
    """

    headers_sent: bool

    def __init__(
        self, request: ClientRequest, connection: Connection, must_close: Callable[[], bool]
    ) -> None:
        super().__init__(request, connection.sock, None)
        self.closes = True
        self._connection = connection
        self._must_close = must_close
        self._head = b""
        self._noted: set[str] = set()

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """Take over the fields of the response, as gunicorn does, but judge each name once.

        Raises gunicorn's errors for a name or value that no field may have, without the value.
        """
        for name, value in headers:
            kind = _LOWER_CASE[name]
            if not is_field_value(value):
                raise InvalidResponseHeader(repr(name))
            if not kind:
                continue
            value = value.strip(" \t")  # noqa: PLW2901
            if kind in _NOTED:
                self._noted.add(kind)
                if kind == "content-length":
                    self.response_length = int(value)
            self.headers.append((name, value))

    def send_headers(self) -> None:
        """Write the head, for the next piece to take it along."""
        if self.headers_sent:
            return
        self.closes = self._must_close() or self.should_close()
        # As gunicorn's default_headers, which takes most of its time for the date.
        # RFC 9112 §2.3: 1.1 is the highest version that this server speaks.
        major, minor = min(self.req.version, (1, 1))
        lines = [
            f"HTTP/{major}.{minor} {self.status}",
            f"Connection: {'close' if self.closes else 'keep-alive'}",
        ]
        if "server" not in self._noted:
            lines.append(f"Server: {self.version}")
        if "date" not in self._noted:
            lines.append(f"Date: {_http_date(int(time.time()))}")
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        lines += [f"{name}: {value}" for name, value in self.headers]
        self._head = "\r\n".join((*lines, "", "")).encode("latin-1")
        self.headers_sent = True

    def write(self, arg: bytes) -> None:
        """Send a piece of the body. With an empty one only the head goes, if it is not out yet."""
        super().write(arg)
        self._send_head()

    def close(self) -> None:
        """Send the end of the body."""
        self.send_headers()
        if self.chunked:
            self._emit(b"0\r\n\r\n")
        self._send_head()

    def _emit_body(self, data: bytes) -> None:
        self._emit(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _emit(self, data: bytes) -> None:
        head, self._head = self._head, b""
        self._connection.send(head + data if head else data)

    def _send_head(self) -> None:
        if self._head:
            self._emit(b"")


def interim_head(interim: InterimResponse) -> bytes:
    """Return the head of an interim response, which is all of it (RFC 9110 §15.2).

    Raises gunicorn's errors for a name or value that no field may have.
    """
    lines = [f"HTTP/1.1 {interim.status} {interim.reason.decode('latin-1')}"]
    for name, value in interim.headers:
        if not is_field_value(value):
            raise InvalidResponseHeader(repr(name))
        if _LOWER_CASE[name]:
            lines.append(f"{name}: {value}")
    return "\r\n".join((*lines, "", "")).encode("latin-1")
