"""The body of a client's request, as the standalone server reads it from the connection.

:func:`body_stream` puts one of the two raw streams of this module behind an ``io.BufferedReader``.
So the application can choose: ``read`` waits for all the bytes that it asks for, ``read1`` gives
the bytes that have come.

gunicorn's reader of chunks takes time that grows with the square of the number of chunks that
arrive together. This one is as strict, takes the same time for each byte, lets other greenlets run
while it parses, and has limits (docs/budgets.md).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

import gevent
from gunicorn.http.body import CHUNK_EXT_RE
from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkExtension,
    InvalidChunkSize,
    InvalidHeader,
    LimitRequestHeaders,
    NoMoreData,
)
from gunicorn.http.unreader import Unreader

if TYPE_CHECKING:
    # typeshed's name for every object that readinto may write to.
    from _typeshed import WriteableBuffer

#: The chunk extensions of one body, all together (RFC 9112 §7.1.1 wants such a limit).
EXTENSION_BYTES = 16_384
#: The trailer section of one body.
TRAILER_BYTES = 16_384
#: One body may have this many chunks, one more for each CHUNK_BYTES of data, and CHUNKS_PER_SECOND
#: more for as long as it lasts. A client that sends as it types, or a sensor, stays far below.
CHUNKS = 16_384
CHUNK_BYTES = 16
CHUNKS_PER_SECOND = 100
#: Bytes that are there already are parsed for this long before other greenlets get a turn.
TURN_SECONDS = 0.002

_SIZE_DIGITS = 16
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_CRLF = b"\r\n"
#: Not 0: gevent would come back from a sleep of 0 before it looked at any socket.
_SHORTEST_SLEEP = 1e-6


class ClientBody(io.RawIOBase):
    """A body that ends by its own framing and leaves the bytes behind it to the next request.

    ``failed`` says that nobody knows where the body ends, so that the connection cannot carry
    another request. ``stalled`` says that the last read took too long; the next one may go on where
    it was. ``before_first_read`` is called once, before anything is read.
    """

    def __init__(self, unreader: Unreader) -> None:
        self.failed = False
        self.stalled = False
        self.before_first_read: Callable[[], None] | None = None
        self._unreader = unreader

    def readable(self) -> bool:
        """Return True, as io wants it from a stream that can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read the bytes that have come, at least one unless the body has ended.

        Raises gunicorn's errors for a malformed body, and TimeoutError and other OSErrors of the
        connection.
        """
        if self.before_first_read is not None:
            self.before_first_read()
            self.before_first_read = None
        view = memoryview(buffer)
        try:
            data = self._next(len(view))
        except TimeoutError:
            self.stalled = True
            raise
        except BaseException:
            self.failed = True
            raise
        self.stalled = False
        view[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        raise NotImplementedError


class LengthBody(ClientBody):
    """A body of ``length`` bytes (RFC 9112 §6.2)."""

    def __init__(self, unreader: Unreader, length: int) -> None:
        super().__init__(unreader)
        self.length = length
        self._remaining = length

    def _next(self, size: int) -> bytes:
        size = min(size, self._remaining)
        if not size:
            return b""
        data: bytes = self._unreader.read(read_ahead=size)
        if not data:
            # The client broke off. The application sees a body that is too short.
            self.failed = True
        elif len(data) > size:
            self._unreader.unread(data[size:])
            data = data[:size]
        self._remaining -= len(data)
        return data


class ChunkedBody(ClientBody):
    """A body in chunks (RFC 9112 §7.1).

    ``take_trailers`` gets the trailer section without its last empty line, and raises an error if
    it is malformed.
    """

    def __init__(self, unreader: Unreader, take_trailers: Callable[[bytes], None]) -> None:
        super().__init__(unreader)
        self._take_trailers = take_trailers
        self._buffer = b""
        self._position = 0
        self._remaining = 0
        self._in_chunk = False
        self._in_trailers = False
        self._ended = False
        self._chunks = 0
        self._data_bytes = 0
        self._extension_bytes = 0
        self._started = monotonic()
        self._turn_deadline = 0.0

    def _next(self, size: int) -> bytes:
        pieces: list[bytes] = []
        missing = size
        while missing and not self._ended and (not pieces or self._holds_more()):
            if self._in_trailers:
                self._end_body()
            elif self._remaining:
                pieces.append(piece := self._data(missing))
                missing -= len(piece)
            else:
                self._begin_chunk()
            missing = self._take_whole_chunks(missing, pieces)
        self._data_bytes += size - missing
        return b"".join(pieces)

    def _take_whole_chunks(self, size: int, pieces: list[bytes]) -> int:
        """Take the ordinary chunks that are there from end to end; return what is left of ``size``.

        The loop in :meth:`_next` would do the same. This one is five times as fast, so that small
        chunks cost little.
        """
        if self._in_chunk or self._in_trailers:
            return size
        buffer, position, missing, before = self._buffer, self._position, size, len(pieces)
        while (match := _SIZE_LINE.match(buffer, position)) is not None:
            start = match.end()
            end = start + int(match[1], 16)
            if not start < end <= start + missing or buffer[end : end + 2] != _CRLF:
                break
            pieces.append(buffer[start:end])
            missing -= end - start
            position = end + 2
        self._position = position
        self._count_chunks(len(pieces) - before)
        return missing

    def _holds_more(self) -> bool:
        """Whether the next step needs no more bytes of the client, so that it cannot wait."""
        if self._in_trailers:
            return False
        if self._remaining:
            return self._position < len(self._buffer)
        return self._buffer.find(_CRLF, self._position + 2 * self._in_chunk) >= 0

    def _data(self, size: int) -> bytes:
        """Read data of the present chunk, ``size`` bytes at most."""
        size = min(size, self._remaining)
        if self._position == len(self._buffer):
            self._receive(size)
        piece = self._take(size)
        self._remaining -= len(piece)
        if not self._remaining and self._buffer.startswith(_CRLF, self._position):
            self._end_chunk()
        return piece

    def _take(self, size: int) -> bytes:
        start = self._position
        piece = self._buffer[start : start + size]
        self._position += len(piece)
        return piece

    def _begin_chunk(self) -> None:
        """Read the end of the last chunk and the size of the next one."""
        if self._in_chunk:
            self._end_chunk()
        match = _SIZE_LINE.match(self._buffer, self._position)
        if match is not None:
            self._position = match.end()
            size = int(match[1], 16)
        else:
            size = self._size_of_line(self._line())
        if size:
            self._remaining = size
            self._in_chunk = True
            self._count_chunks(1)
        else:
            self._in_trailers = True

    def _end_chunk(self) -> None:
        while len(self._buffer) - self._position < len(_CRLF):
            try:
                self._receive()
            except NoMoreData:
                raise ChunkMissingTerminator(self._take(1)) from None
        end = self._take(len(_CRLF))
        if end != _CRLF:
            raise ChunkMissingTerminator(end)
        self._in_chunk = False

    def _line(self) -> bytes:
        """Read up to the next CRLF."""
        while (end := self._buffer.find(_CRLF, self._position)) < 0:
            if len(self._buffer) - self._position > EXTENSION_BYTES + _SIZE_DIGITS:
                raise InvalidChunkSize(b"a line without an end")
            self._receive()
        line = self._buffer[self._position : end]
        self._position = end + len(_CRLF)
        return line

    def _size_of_line(self, line: bytes) -> int:
        """RFC 9112 §7.1.1: a chunk's size may have extensions, which mean nothing here."""
        digits, semicolon, extension = line.partition(b";")
        if semicolon:
            if b"\r" in extension:
                raise InvalidChunkExtension("bare CR")
            digits = digits.rstrip(b" \t")
        if _SIZE.fullmatch(digits) is None:
            raise InvalidChunkSize(digits)
        if semicolon:
            self._extension_bytes += len(line) - len(digits)
            if self._extension_bytes > EXTENSION_BYTES:
                raise InvalidChunkExtension("too many bytes of extensions")
            if CHUNK_EXT_RE.fullmatch(semicolon + extension) is None:
                raise InvalidChunkExtension("malformed")
        return int(digits, 16)

    def _count_chunks(self, number: int) -> None:
        self._chunks += number
        if self._chunks <= CHUNKS:
            return
        allowed = CHUNKS + self._data_bytes // CHUNK_BYTES
        if self._chunks > allowed + CHUNKS_PER_SECOND * (monotonic() - self._started):
            raise InvalidChunkSize(b"too many small chunks")

    def _end_body(self) -> None:
        """Read the trailer section (RFC 9112 §7.1.2), and leave the bytes behind it."""
        while not self._take_trailer_section():
            section = self._buffer[self._position :]
            if len(section) > TRAILER_BYTES:
                raise LimitRequestHeaders("the trailer section is too large")
            if section.count(b"\n") != section.count(_CRLF):
                raise InvalidHeader("bare LF as line terminator")
            try:
                self._receive()
            except NoMoreData:
                raise ChunkMissingTerminator(b"") from None
        self._ended = True

    def _take_trailer_section(self) -> bool:
        """Return False until the section has come as a whole."""
        start = self._position
        if self._buffer.startswith(_CRLF, start):
            self._leave(start + len(_CRLF))
            return True
        end = self._buffer.find(_CRLF * 2, start)
        if end < 0:
            return False
        section = self._buffer[start:end]
        self._leave(end + 2 * len(_CRLF))
        if len(section) > TRAILER_BYTES:
            raise LimitRequestHeaders("the trailer section is too large")
        self._take_trailers(section)
        return True

    def _leave(self, end: int) -> None:
        """Give back the bytes behind ``end``: they are the next request."""
        if end < len(self._buffer):
            self._unreader.unread(self._buffer[end:])
        self._buffer, self._position = b"", 0

    def _receive(self, size: int = 0) -> None:
        """Wait for bytes of the client. Raises NoMoreData if the client breaks off."""
        self._yield_turn()
        data = self._unreader.read(read_ahead=size)
        if not data:
            raise NoMoreData
        rest = self._buffer[self._position :]
        self._buffer = rest + data if rest else data
        self._position = 0

    def _yield_turn(self) -> None:
        """Let other greenlets run when this one has had its turn.

        While the client sends as fast as the server reads, no read makes this greenlet wait.
        """
        now = monotonic()
        if now > self._turn_deadline:
            if self._turn_deadline:
                gevent.sleep(_SHORTEST_SLEEP)
                now = monotonic()
            self._turn_deadline = now + TURN_SECONDS


def body_stream(body: ClientBody) -> io.BufferedReader:
    """Return ``body`` as the stream that the application reads (PEP 3333)."""
    return io.BufferedReader(body)
