"""The body of a request on its way to the backend: framed afresh, never completed falsely."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic
from wsgiref.types import WSGIEnvironment

from gateway.http.client_socket import client_socket, limit_silence, time_to_send
from gateway.http.proxy_errors import ProxyError, bad_request

#: A body up to this size is read before a connection to the backend is taken, and goes out
#: with the head.
FIRST_PIECE_BYTES = 65_536
#: Servers give nothing before they have all that was asked for. So a client that is quick is
#: asked for more at once, and one that is slow for less, lest its bytes wait for each other.
SMALLEST_PIECE_BYTES = 4_096
LARGEST_PIECE_BYTES = 262_144
QUICK_SECONDS = 0.005

_LAST_CHUNK = b"0\r\n\r\n"
_LENGTH = re.compile(r"[0-9]{1,19}")


class RequestBody:
    """The framing header of a request, and its body in pieces ready for the wire.

    ``length`` is what Content-Length announced, ``None`` for a chunked body. A client that
    stops sending for ``timeout`` seconds is given up, where the server shows its socket; so
    is one that has not sent all at ``deadline`` (of the monotonic clock).
    """

    __slots__ = (
        "_client",
        "_deadline",
        "_ended",
        "_environ",
        "_read",
        "_remaining",
        "_size",
        "_timeout",
        "length",
    )

    def __init__(
        self,
        environ: WSGIEnvironment,
        length: int | None,
        timeout: float,
        deadline: float | None = None,
    ) -> None:
        self.length = length
        self._remaining = length or 0
        self._ended = length == 0
        self._read: Callable[[int], bytes] = environ["wsgi.input"].read
        self._client = client_socket(environ)
        self._environ = environ
        self._timeout = timeout
        self._deadline = deadline
        self._size = FIRST_PIECE_BYTES

    @property
    def header(self) -> str:
        """The one header line that frames the body (RFC 9112 §6)."""
        if self.length is None:
            return "Transfer-Encoding: chunked\r\n"
        return f"Content-Length: {self.length}\r\n"

    @property
    def ended(self) -> bool:
        """Whether every byte was given."""
        return self._ended

    def next(self) -> bytes:
        """Give the next piece, b"" after the last one.

        Raises a 400 or 408 :class:`ProxyError` where the client breaks off or stalls; then
        the request must not be completed.
        """
        if self._ended:
            return b""
        if self.length is None:
            data = self._take(self._size)
            if not data:
                self._ended = True
                return _LAST_CHUNK
            return b"%X\r\n%b\r\n" % (len(data), data)
        data = self._take(min(self._size, self._remaining))
        if not data:
            raise bad_request("The body is shorter than its Content-Length.")
        self._remaining -= len(data)
        self._ended = self._remaining == 0
        return data

    def _take(self, size: int) -> bytes:
        started = monotonic()
        data = self._read_by_deadline(size)
        if monotonic() - started < QUICK_SECONDS:
            self._size = min(self._size * 2, LARGEST_PIECE_BYTES)
        else:
            self._size = max(self._size // 2, SMALLEST_PIECE_BYTES)
        return data

    def _read_by_deadline(self, size: int) -> bytes:
        if self._deadline is None:
            return self._bounded_read(size)
        try:
            with time_to_send(self._environ, max(0.001, self._deadline - monotonic())):
                return self._bounded_read(size)
        except TimeoutError:
            raise _too_slow() from None

    def _bounded_read(self, size: int) -> bytes:
        if self._client is None:
            return self._guarded_read(size)
        with limit_silence(self._client, self._longest_silence()):
            return self._guarded_read(size)

    def _longest_silence(self) -> float:
        if self._deadline is None:
            return self._timeout
        return max(0.001, min(self._timeout, self._deadline - monotonic()))

    def _guarded_read(self, size: int) -> bytes:
        try:
            return self._read(size)
        except TimeoutError:
            raise _too_slow() from None
        except Exception as error:
            # Each server has errors of its own for a body that is malformed or cut off.
            raise bad_request("The body cannot be read.") from error


def _too_slow() -> ProxyError:
    return ProxyError(HTTPStatus.REQUEST_TIMEOUT, "The body took too long.")


def request_body(
    environ: WSGIEnvironment, timeout: float, deadline: float | None = None
) -> RequestBody | None:
    """Give the body of a request, ``None`` where there is none (RFC 9112 §6.3).

    Raises a :class:`ProxyError`: 400 for two framings or a bad length, 411 for a chunked
    body that the server does not delimit, 501 for another transfer coding.
    """
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    length = environ.get("CONTENT_LENGTH")
    if coding is None:
        if not length:
            return None
        if _LENGTH.fullmatch(length) is None:
            raise bad_request("Content-Length is not a number.")
        return RequestBody(environ, int(length), timeout, deadline)
    if length:
        raise bad_request("Content-Length and Transfer-Encoding exclude each other.")
    if coding.strip(" \t").lower() != "chunked":
        raise ProxyError(HTTPStatus.NOT_IMPLEMENTED, "The only transfer coding is chunked.")
    if not environ.get("wsgi.input_terminated"):
        raise ProxyError(HTTPStatus.LENGTH_REQUIRED, "This server needs a Content-Length.")
    return RequestBody(environ, None, timeout, deadline)
