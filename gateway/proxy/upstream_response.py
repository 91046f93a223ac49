"""A response of the backend, read strictly from bytes (RFC 9112); no socket is known here.

llhttp does the parsing and is never told to be lenient. What it leaves open is refused in
this file: versions, interim responses, transfer codings and sizes that the request did not ask for.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gateway.http.header_policy import ResponseNames, connection_options, fold, is_field_value

#: Status line and header fields of a response, interim responses included.
HEAD_BYTES = 65_536

_NAMES = ResponseNames()
_VERSIONS = frozenset({"1.0", "1.1"})
#: RFC 9110 §15: 1xx are interim. 101 belongs to an Upgrade, which the gateway never sends.
_FIRST_INTERIM = 100
_SWITCHING_PROTOCOLS = 101
_FIRST_FINAL = 200
_CONTENT_LENGTH = b"content-length"
_CONTENT_LENGTH_SIZE = len(_CONTENT_LENGTH)


class BadResponseError(Exception):
    """The backend sent no response that could be handed on; the text quotes nothing of it."""


class InterimResponse(NamedTuple):
    """A response with a status of 1xx: its head is all of it."""

    status: int
    reason: bytes
    headers: list[tuple[str, str]]


class UpstreamResponse:
    """The backend's response to one request, as far as it has been fed.

    ``head_only`` is for HEAD. After ``head_complete`` there are ``status``, ``reason``,
    ``version`` and the ``headers`` that are not hop-by-hop. ``remaining`` bytes of the body are to
    come, ``None`` where no length was announced; a ``chunked`` body says itself where it ends.
    ``persistent`` tells that the connection outlasts the response (RFC 9112 §9.3). ``interims``
    are the interim responses for the client that have come (RFC 9110 §15.2).
    """

    __slots__ = (
        "_connection",
        "_head_only",
        "_interim",
        "_parser",
        "_pieces",
        "_since_body",
        "_transfer_encoding",
        "chunked",
        "complete",
        "fed",
        "head_complete",
        "headers",
        "interims",
        "persistent",
        "reason",
        "remaining",
        "status",
        "version",
    )

    def __init__(self, *, head_only: bool = False) -> None:
        self.status = 0
        self.reason = b""
        self.version = ""
        self.headers: list[tuple[str, str]] = []
        self.interims: list[InterimResponse] = []
        self.fed = 0
        self.head_complete = False
        self.complete = False
        self.chunked = False
        self.remaining: int | None = None
        self.persistent = False
        self._head_only = head_only
        self._interim = False
        self._since_body = 0
        self._pieces: list[bytes] = []
        self._connection: list[str] = []
        self._transfer_encoding: list[bytes] = []
        self._parser: HttpResponseParser | None = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take the next bytes, at least one. Raises :class:`BadResponseError`."""
        if self._parser is None:
            return
        self.fed += len(data)
        self._since_body += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not self.complete:
                raise _in_our_words(error) from None
            # Bytes after the end belong to no request of ours.
            self.persistent = False
        if not self.head_complete and self.fed > HEAD_BYTES:
            raise BadResponseError("the head of its response is too large")
        if self.chunked and not self.complete and self._since_body > HEAD_BYTES:
            # Chunk extensions and trailers, which the parser keeps until they end.
            raise BadResponseError("its response has too much beside its body")

    def take_body(self) -> bytes:
        """Return the bytes of the body that came since the last call."""
        pieces = self._pieces
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        return data

    def is_event_stream(self) -> bool:
        """Whether the head announces server-sent events, which may be far apart."""
        types = [value for name, value in self.headers if name.lower() == "content-type"]
        return any(value.lower().startswith("text/event-stream") for value in types)

    def discard(self) -> None:
        """Drop the parser, which holds this object as this object holds it."""
        self._parser = None

    # The parser calls the methods that follow.

    def on_message_begin(self) -> None:
        """Refuse a second response."""
        if self.complete:
            raise BadResponseError("more than one response")

    def on_status(self, status: bytes) -> None:
        """Collect the reason phrase, which may come in two parts."""
        self.reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect one header field, or drop one of the trailer section."""
        if self.head_complete:
            return
        if text := _NAMES[name]:
            self.headers.append((text, value.decode("latin-1")))
            if len(name) == _CONTENT_LENGTH_SIZE and name.lower() == _CONTENT_LENGTH:
                self.remaining = int(value)
            return
        folded = fold(name.decode("latin-1"))
        if folded == "TRANSFER_ENCODING":
            self._transfer_encoding.append(value.strip(b" \t").lower())
        elif folded == "CONNECTION":
            self._connection.append(value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """Judge the head."""
        parser = self._parser
        if parser is None:
            return
        self.version = parser.get_http_version()
        if self.version not in _VERSIONS:
            raise BadResponseError("a version of HTTP that the request did not ask for")
        if not is_field_value(self.reason.decode("latin-1")):
            raise BadResponseError("control characters in the reason phrase")
        self.status = parser.get_status_code()
        if self.status < _FIRST_FINAL:
            if self.status < _FIRST_INTERIM or self.status == _SWITCHING_PROTOCOLS:
                raise BadResponseError("a status that the request did not ask for")
            self._interim = True
            return
        self._judge_framing()
        self._drop_connection_named()
        self.persistent = parser.should_keep_alive()
        self.head_complete = True
        self.complete = self._head_only

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        if self.complete:
            raise BadResponseError("a body where none may be")
        if self.remaining is not None:
            self.remaining -= len(body)
        self._since_body = 0
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """End the response, or put an interim one aside (RFC 9110 §15.2)."""
        if not self._interim:
            self.complete = True
            return
        # The gateway's own server answers Expect, so nobody waits for the backend's 100.
        if self.status != HTTPStatus.CONTINUE:
            self._drop_connection_named()
            # RFC 9110 §8.6: none of them has a length.
            headers = [field for field in self.headers if field[0].lower() != "content-length"]
            self.interims.append(InterimResponse(self.status, self.reason, headers))
        self._interim = False
        self.reason = b""
        self.remaining = None
        self.headers.clear()
        self._connection.clear()
        self._transfer_encoding.clear()

    def _judge_framing(self) -> None:
        """RFC 9112 §6.1: the request asked for no coding but chunked, and HTTP/1.0 has none."""
        if self._transfer_encoding:
            if self._transfer_encoding != [b"chunked"] or self.version == "1.0":
                raise BadResponseError("a transfer coding that the request did not ask for")
            self.chunked = True
        if self.fed > HEAD_BYTES and self._head_size() > HEAD_BYTES:
            raise BadResponseError("too large a head")

    def _head_size(self) -> int:
        return sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _drop_connection_named(self) -> None:
        """RFC 9110 §7.6.1: the fields that Connection names end here, but not the framing."""
        named = {name for value in self._connection for name in connection_options(value)}
        named.discard("CONTENT_LENGTH")
        if named:
            self.headers[:] = [field for field in self.headers if fold(field[0]) not in named]


def _in_our_words(error: Exception) -> BadResponseError:
    """Return our own complaint, which the parser wraps, or the parser's."""
    cause = error.__context__
    if isinstance(cause, BadResponseError):
        return BadResponseError(f"its response has {cause}")
    return BadResponseError(f"its response is not HTTP: {error}")
