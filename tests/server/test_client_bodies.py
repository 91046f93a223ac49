"""Bodies are read as strictly as gunicorn reads them, in linear time, and within limits."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkExtension,
    InvalidChunkSize,
    InvalidHeader,
    LimitRequestHeaders,
    NoMoreData,
)
from gunicorn.http.unreader import IterUnreader
from hypothesis import given
from hypothesis import strategies as st

from gateway.server import client_body
from gateway.server.client_body import ChunkedBody, LengthBody, body_stream

END = b"0\r\n\r\n"


class Connection(IterUnreader):  # type: ignore[misc]  # gunicorn has no types
    """What a client sends, in pieces; TimeoutError stands for a pause that is too long."""

    def __init__(self, *pieces: bytes | type[TimeoutError]) -> None:
        super().__init__(self._sent(pieces))

    def chunk(self, size_hint: int | None = None) -> bytes:
        try:
            piece = next(self.iter, b"")
        except StopIteration:
            return b""
        if piece is TimeoutError:
            raise TimeoutError
        return bytes(piece)

    @staticmethod
    def _sent(pieces: tuple[bytes | type[TimeoutError], ...]) -> Iterator[object]:
        yield from pieces


def chunked(
    *pieces: bytes | type[TimeoutError], trailers: Callable[[bytes], None] = lambda section: None
) -> tuple[io.BufferedReader, Connection]:
    connection = Connection(*pieces)
    return body_stream(ChunkedBody(connection, trailers)), connection


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%X%b\r\n%b\r\n" % (len(data), extension, data)


# --- What has come, and what is to come


def test_read1_gives_what_has_come() -> None:
    stream, _ = chunked(b"5\r\nhel", b"lo\r\n3\r\n...\r\n" + END)

    assert [stream.read1(100) for _ in range(3)] == [b"hel", b"lo...", b""]


def test_read_gives_what_was_asked_for() -> None:
    stream, _ = chunked(b"5\r\nhel", b"lo\r\n3\r\n...\r\n" + END)

    assert [stream.read(6), stream.read(6), stream.read(6)] == [b"hello.", b"..", b""]


def test_lines_are_read_as_from_a_file() -> None:
    stream, _ = chunked(chunk(b"one\ntw"), chunk(b"o\nthree"), END)

    assert list(stream) == [b"one\n", b"two\n", b"three"]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8192])
@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_pieces_of_any_size_make_the_same_body(size: int, step: int) -> None:
    data = chunk(b"hello", b';a="b"') + chunk(b" ") + chunk(b"world" * 99) + END + b"GET /"
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    stream, connection = chunked(*pieces)

    body = b"".join(iter(lambda: stream.read1(size), b""))

    assert body == b"hello " + b"world" * 99
    assert b"".join(iter(connection.read, b"")) == b"GET /"


def test_a_pause_that_is_too_long_loses_nothing() -> None:
    """The proxy reads on: it only wanted to know whether more comes soon."""
    pause = TimeoutError
    pieces = (b"5\r", pause, b"\nhe", pause, b"llo", pause, b"\r\n0", pause, b"\r\nA: b", pause)
    taken: list[bytes] = []
    stream, connection = chunked(*pieces, b"\r\n\r\nGET", trailers=taken.append)
    body = b""
    pauses = 0
    while True:
        try:
            data = stream.read1(100)
        except TimeoutError:
            pauses += 1
            continue
        if not data:
            break
        body += data

    assert (body, pauses, taken) == (b"hello", 5, [b"A: b"])
    assert connection.read() == b"GET"


def test_a_body_with_a_length_leaves_the_next_request() -> None:
    connection = Connection(b"hel", b"loGET")
    stream = body_stream(LengthBody(connection, 5))

    assert (stream.read(), connection.read()) == (b"hello", b"GET")


def test_a_body_with_a_length_that_breaks_off_is_short_and_has_failed() -> None:
    body = LengthBody(Connection(b"hel"), 5)

    assert body_stream(body).read() == b"hel"
    assert body.failed


# --- Malformed bodies. tests/server/test_client_request.py compares with gunicorn.


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"5\nhello\r\n" + END, InvalidChunkSize),
        (b"0x5\r\nhello\r\n" + END, InvalidChunkSize),
        (b"+5\r\nhello\r\n" + END, InvalidChunkSize),
        (b" 5\r\nhello\r\n" + END, InvalidChunkSize),
        (b"5 \r\nhello\r\n" + END, InvalidChunkSize),
        (b"5_0\r\nhello\r\n" + END, InvalidChunkSize),
        (b";a\r\nhello\r\n" + END, InvalidChunkSize),
        (b"\r\nhello\r\n" + END, InvalidChunkSize),
        (b"F" * 17 + b"\r\nhello\r\n" + END, InvalidChunkSize),
        (b"5;\r\nhello\r\n" + END, InvalidChunkExtension),
        (b"5;a=\x00\r\nhello\r\n" + END, InvalidChunkExtension),
        (b"5;a\rb\r\nhello\r\n" + END, InvalidChunkExtension),
        (b"5;a\nb\r\nhello\r\n" + END, InvalidChunkExtension),
        (b'5;a="b\r\nhello\r\n' + END, InvalidChunkExtension),
        (b"4\r\nhello\r\n" + END, ChunkMissingTerminator),
        (b"6\r\nhello\r\n" + END, ChunkMissingTerminator),
        (b"5\r\nhello\n\n" + END, ChunkMissingTerminator),
        (b"5\r\nhello", ChunkMissingTerminator),
        (b"5\r\nhel", NoMoreData),
        (b"5", NoMoreData),
        (b"5\r\nhello\r\n", NoMoreData),
        (b"5\r\nhello\r\n0\r\n", ChunkMissingTerminator),
        (b"5\r\nhello\r\n0\r\nA: b\r\n", ChunkMissingTerminator),
        (b"5\r\nhello\r\n0\r\nA: b\nC: d\r\n", InvalidHeader),
    ],
)
def test_a_malformed_body_never_ends(data: bytes, error: type[Exception]) -> None:
    stream, _ = chunked(data)

    with pytest.raises(error):
        stream.read()
    assert stream.raw.failed  # type: ignore[attr-defined]


# --- Limits


def test_chunk_extensions_have_a_limit_all_together() -> None:
    most = client_body.EXTENSION_BYTES // 4
    extended = chunk(b"x", b";abc")
    assert chunked(extended * most, END)[0].read() == b"x" * most
    stream, _ = chunked(extended * (most + 1), END)

    with pytest.raises(InvalidChunkExtension):
        stream.read()


@pytest.mark.parametrize("line", [b"1;" + b"a" * 100, b"1" * 100, b"1" + b" " * 100])
def test_a_size_line_without_an_end_has_a_limit(line: bytes) -> None:
    stream, connection = chunked(line, *[b"a" * 1000] * 1000)

    with pytest.raises(InvalidChunkSize):
        stream.read()
    # The rest was not even read.
    assert len(connection.read()) == 1000


def test_trailers_have_a_limit() -> None:
    stream, _ = chunked(b"0\r\n", *[b"A: b\r\n" * 100] * 1000)

    with pytest.raises(LimitRequestHeaders):
        stream.read()


def test_small_chunks_have_a_limit_that_grows_with_the_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_body, "monotonic", lambda: 0.0)
    large = client_body.CHUNKS * client_body.CHUNK_BYTES
    one = chunk(b"x")
    stream, _ = chunked(chunk(b"y" * large), one * (2 * client_body.CHUNKS - 1), END)
    assert len(stream.read()) == large + 2 * client_body.CHUNKS - 1
    stream, _ = chunked(one * (2 * client_body.CHUNKS), END)

    with pytest.raises(InvalidChunkSize):
        stream.read()


def test_small_chunks_may_go_on_for_ever_if_they_are_not_too_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A keystroke or a measurement ten times a second, for hours."""
    clock = iter(range(10_000_000))
    monkeypatch.setattr(client_body, "monotonic", lambda: next(clock) / 10)
    count = 3 * client_body.CHUNKS
    stream, _ = chunked(*[chunk(b"x")] * count, END)

    assert len(stream.read()) == count


@given(
    pieces=st.lists(st.binary(max_size=40), max_size=8),
    cuts=st.lists(st.integers(0, 300), max_size=8),
)
def test_any_body_is_read_as_it_was_sent(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(chunk(piece) for piece in pieces if piece) + END
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    sent = [data[start:end] for start, end in pairwise(places)]

    assert chunked(*sent)[0].read() == b"".join(pieces)


# --- Time: four times as much takes about four times as long, not sixteen


def seconds_for(*pieces: bytes) -> float:
    stream, _ = chunked(*pieces)
    started = time.process_time()
    stream.read()
    return time.process_time() - started


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda count: [chunk(b"x") * count, END], id="tiny chunks at once"),
        pytest.param(lambda count: [*[b"1\r\n", b"x\r\n"] * count, END], id="one by one"),
        pytest.param(
            lambda count: [b"%X\r\n" % count, *[b"x"] * count, b"\r\n", END], id="tiny pieces"
        ),
    ],
)
def test_time_grows_with_the_number_of_chunks_and_no_faster(
    body: Callable[[int], list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_body, "CHUNKS", 10**9)
    monkeypatch.setattr("gevent.sleep", lambda seconds: None)
    few = min(seconds_for(*body(10_000)) for _ in range(3))
    many = min(seconds_for(*body(40_000)) for _ in range(3))

    assert many < 9 * few
