"""Three readers of the same bytes: the gateway's own, gunicorn's and h11's.

Each reads one request at a time, and says what it read in the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h11
from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import ChunkMissingTerminator, NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader, Unreader

from gateway.server.client_body import LengthBody
from gateway.server.parse_errors import require_host
from gateway.server.request import ClientRequest

PEER = ("127.0.0.1", 4000)
#: A conversation is read so far; nothing new is learned from what follows.
_MOST_REQUESTS = 4
#: Larger than any head of a case, so that h11 judges it by its grammar.
_H11_BYTES = 10_000_000

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reading:
    """A request as one reader understood it; ``rest`` is the number of bytes that follow it.

    ``in_one_step`` tells that our own expression read the head, and not gunicorn's parser.
    """

    method: str
    target: str
    version: str
    fields: Fields
    framing: str
    body: bytes
    trailers: Fields
    rest: int
    in_one_step: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Refusal:
    """Why a reader read no request. ``incomplete``: it waits for more bytes."""

    why: str
    incomplete: bool = False


#: What a reader makes of the bytes, in one piece or in several.
Reader = Callable[[Config, tuple[bytes, ...]], Iterator[Reading | Refusal]]


def ours(cfg: Config, pieces: tuple[bytes, ...]) -> Iterator[Reading | Refusal]:
    """Read as the standalone server does."""
    return _conversation(ClientRequest, cfg, pieces)


def gunicorns(cfg: Config, pieces: tuple[bytes, ...]) -> Iterator[Reading | Refusal]:
    """Read as gunicorn's parser does, with the one rule more that the gateway has."""
    return _conversation(Request, cfg, pieces)


def _conversation(
    parser: Callable[[Config, Unreader, object], Any], cfg: Config, pieces: tuple[bytes, ...]
) -> Iterator[Reading | Refusal]:
    """Give readings until the bytes end or are refused."""
    unreader = IterUnreader(pieces)
    for _ in range(_MOST_REQUESTS):
        reading = _next_request(parser, cfg, unreader)
        yield reading
        if isinstance(reading, Refusal):
            return


def _next_request(
    parser: Callable[[Config, Unreader, object], Any], cfg: Config, unreader: Unreader
) -> Reading | Refusal:
    try:
        request = parser(cfg, unreader, PEER)
        require_host(request.version, request.headers)
        framing = _framing(request)
        body: bytes = request.body.read()
    except (NoMoreData, StopIteration) as error:
        return Refusal(type(error).__name__, incomplete=True)
    except ChunkMissingTerminator as error:
        # The bytes ended where a line end was due.
        return Refusal(type(error).__name__, incomplete=error.term in {b"", b"\r"})
    except Exception as error:  # noqa: BLE001 - any other error is a refusal, and which one is shown
        return Refusal(type(error).__name__)
    if framing not in {"chunked", str(len(body))}:
        return Refusal("the body is too short", incomplete=True)
    rest = b"".join(iter(unreader.read, b""))
    unreader.unread(rest)
    return Reading(
        request.method,
        request.uri,
        "{}.{}".format(*request.version),
        _upper_case(request.headers),
        framing,
        body,
        _upper_case(getattr(request, "trailers", ())),
        len(rest),
        # gunicorn's parser counts the requests of a connection.
        in_one_step=not hasattr(request, "req_number"),
    )


def _framing(request: Any) -> str:
    """Return ``chunked``, or the length of the body as a number."""
    if isinstance(request, ClientRequest):
        body = request.raw_body
        if isinstance(body, LengthBody):
            return str(body.length)
        return "0" if body is None else "chunked"
    if isinstance(request.body.reader, ChunkedReader):
        return "chunked"
    return str(request.body.reader.length)


def h11s(data: bytes) -> Reading | Refusal:
    """Read one request as h11 does, an independent parser; the connection then ends.

    RFC 9112 §2.2: an empty line before the request is passed over. h11 leaves that to its user.
    """
    data = data.removeprefix(b"\r\n")
    connection = h11.Connection(h11.SERVER, _H11_BYTES)
    connection.receive_data(data)
    try:
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            return Refusal("no whole head", incomplete=True)
        pieces: list[bytes] = []
        while isinstance(event := connection.next_event(), h11.Data):
            pieces.append(bytes(event.data))
    except h11.RemoteProtocolError as error:
        return Refusal(str(error))
    if not isinstance(event, h11.EndOfMessage):
        return Refusal("no whole body", incomplete=True)
    body = b"".join(pieces)
    fields = _fields_of(request.headers)
    chunked = any(name == "TRANSFER-ENCODING" for name, _ in fields)
    return Reading(
        request.method.decode("latin-1"),
        request.target.decode("latin-1"),
        request.http_version.decode("latin-1"),
        fields,
        "chunked" if chunked else str(len(body)),
        body,
        _fields_of(event.headers),
        len(connection.trailing_data[0]),
    )


def _fields_of(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    return _upper_case((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def _upper_case(fields: Iterable[tuple[str, str]]) -> Fields:
    return tuple((name.upper(), value) for name, value in fields)
