"""The body of a request on its way to the backend.

It is framed anew, and a body that the client did not finish never looks complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from wsgiref.types import WSGIEnvironment

from gateway.http.client_socket import WITHIN, client_socket, limit_silence, time_to_send
from gateway.http.proxy_errors import ProxyError, bad_request

#: A body of this size at most is sent together with the head.
FIRST_PIECE_BYTES = 65_536
#: The gateway waits this long for the rest of such a body before it takes a connection to the
#: backend. The pieces of a slow client are passed on as they come.
GATHER_SECONDS = 0.2
#: Most WSGI servers return nothing before they have the whole size that was asked for. So a fast
#: client's body is read in larger pieces and a slow client's in smaller ones. The gateway's own
#: server returns the bytes that have come.
SMALLEST_PIECE_BYTES = 4_096
LARGEST_PIECE_BYTES = 262_144
QUICK_SECONDS = 0.005

_LAST_CHUNK = b"0\r\n\r\n"
_LENGTH = re.compile(r"[0-9]{1,19}")


class RequestBody:
    """The framing header of a request, and its body in pieces ready for the wire.

    ``length`` is the Content-Length, ``None`` for a chunked body. If the server shows the client's
    socket, a client that sends nothing for ``timeout`` seconds gets a 408. So does a client that
    has not sent everything at ``deadline`` (a time of the monotonic clock).
    """

    __slots__ = (
        "_client",
        "_deadline",
        "_ended",
        "_environ",
        "_read",
        "_reads_on_arrival",
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
        stream = environ["wsgi.input"]
        self._reads_on_arrival = hasattr(stream, "read1")
        self._read: Callable[[int], bytes] = stream.read1 if self._reads_on_arrival else stream.read
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
        """Whether :meth:`next` has returned every byte."""
        return self._ended

    def first(self) -> bytes:
        """Return the first piece: all of a small body, if that comes soon.

        Raises the errors of :meth:`next`.
        """
        data = self.next()
        within = self._environ.get(WITHIN)
        if self._ended or within is None or self.length is None or self.length > FIRST_PIECE_BYTES:
            return data
        pieces = [data]
        with suppress(TimeoutError), within(GATHER_SECONDS):
            while not self._ended:
                pieces.append(self._count(self._read_well_formed(self._remaining)))
        return b"".join(pieces)

    def next(self) -> bytes:
        """Return the next piece, b"" after the last one.

        Raises a :class:`ProxyError`, 400 if the client breaks off and 408 if it stalls; the
        request must not be completed then.
        """
        if self._ended:
            return b""
        if self.length is None:
            data = self._read_piece(self._size)
            if not data:
                self._ended = True
                return _LAST_CHUNK
            return b"%X\r\n%b\r\n" % (len(data), data)
        return self._count(self._read_piece(min(self._size, self._remaining)))

    def _count(self, data: bytes) -> bytes:
        """Count ``data`` as a part of the Content-Length."""
        if not data:
            raise bad_request("The body is shorter than its Content-Length.")
        self._remaining -= len(data)
        self._ended = self._remaining == 0
        return data

    def _read_piece(self, size: int) -> bytes:
        """Read up to ``size`` bytes, and adapt the size of the next piece to the client's speed."""
        started = monotonic()
        data = self._read_by_deadline(size)
        if self._reads_on_arrival:
            full = len(data) == size
            self._size = min(size * 2, LARGEST_PIECE_BYTES) if full else FIRST_PIECE_BYTES
        elif monotonic() - started < QUICK_SECONDS:
            self._size = min(self._size * 2, LARGEST_PIECE_BYTES)
        else:
            self._size = max(self._size // 2, SMALLEST_PIECE_BYTES)
        return data

    def _read_by_deadline(self, size: int) -> bytes:
        if self._deadline is None:
            return self._read_within_timeout(size)
        try:
            with time_to_send(self._environ, max(0.001, self._deadline - monotonic())):
                return self._read_within_timeout(size)
        except TimeoutError:
            raise _too_slow() from None

    def _read_within_timeout(self, size: int) -> bytes:
        if self._client is None:
            return self._read_or_refuse(size)
        with limit_silence(self._client, self._longest_silence()):
            return self._read_or_refuse(size)

    def _longest_silence(self) -> float:
        if self._deadline is None:
            return self._timeout
        return max(0.001, min(self._timeout, self._deadline - monotonic()))

    def _read_or_refuse(self, size: int) -> bytes:
        try:
            return self._read_well_formed(size)
        except TimeoutError:
            raise _too_slow() from None

    def _read_well_formed(self, size: int) -> bytes:
        """Read, and raise a 400 for a malformed body, or TimeoutError."""
        try:
            return self._read(size)
        except TimeoutError:
            raise
        except Exception as error:
            # Each server raises its own errors for a body that is malformed or cut off.
            raise bad_request("The body cannot be read.") from error


def _too_slow() -> ProxyError:
    return ProxyError(HTTPStatus.REQUEST_TIMEOUT, "The body took too long.")


def request_body(
    environ: WSGIEnvironment, timeout: float, deadline: float | None = None
) -> RequestBody | None:
    """Return the body of a request, ``None`` if it has none (RFC 9112 §6.3).

    Raises a :class:`ProxyError`: 400 for two framings or a bad length, 411 for a chunked body
    whose end the server does not show, 501 for another transfer coding.
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
