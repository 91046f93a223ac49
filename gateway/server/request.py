"""The head of a client's request: a head as nearly every client writes it is read in one step.

gunicorn's parser is strict, but it is written in Python and goes line by line. Here one regular
expression recognises an ordinary head: the grammar of RFC 9112 without its rare parts. Every other
head goes to gunicorn's parser unchanged: another method, an empty line before it,
Transfer-Encoding, Expect, anything malformed. So this module accepts nothing that gunicorn would
refuse or read differently; ``tests/server/test_client_request.py`` compares the two. Two rules are
this module's own: the limit on the whole head, and the options of Connection.
"""

from __future__ import annotations

import io
import re
from typing import Any

from gunicorn.http.body import ChunkedReader
from gunicorn.http.errors import InvalidHTTPVersion, LimitRequestHeaders, NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

from gateway.http.bounded_cache import BoundedCache
from gateway.server.client_body import ChunkedBody, ClientBody, LengthBody, body_stream
from gateway.server.head_reader import HEAD_BYTES, kept_names, read_head
from gateway.server.parse_errors import limit_connection, require_host

#: RFC 9112 §3 and §5, with the origin-form only, one space, CRLF, and field names without an
#: underscore, so that no two names become the same WSGI key. gunicorn reads a target that begins
#: with "//".
_ORDINARY = re.compile(
    rb"(DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT) (/(?:[!\"$-.0-~][!\"$-~]*)?) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
#: A head of this size at most cannot hold a line that is longer than the server's settings allow.
_ORDINARY_BYTES = 8190
#: An ordinary head has each of these once at most (RFC 9112 §3.2, RFC 9110 §5.3 and §8.6).
_SINGLE_FIELDS = frozenset({"HOST", "CONTENT-LENGTH", "CONTENT-TYPE"})
#: A head with one of these is not ordinary.
_RARE_FIELDS = frozenset({"EXPECT", "TRANSFER-ENCODING"})
_CHECKED_FIELDS = _SINGLE_FIELDS | _RARE_FIELDS

_HEAD_END = b"\r\n\r\n"
#: RFC 9113 §3.4: a client that assumes HTTP/2 begins with this.
_HTTP_2_PREFACE = b"PRI * HTTP/2.0\r\n"


class _UpperCase(BoundedCache[str]):
    def compute(self, name: str) -> str:
        return name.upper()


_UPPER_CASE = _UpperCase()


class ClientRequest(Request):  # type: ignore[misc]  # gunicorn has no types
    """A request whose head has been read, and whose ``body`` has not.

    It has the attributes of gunicorn's request: ``method``, ``uri`` (the raw target), ``path`` and
    ``query``, ``version`` as two numbers, and ``headers``, pairs of a name in upper case and a
    value. Raises gunicorn's NoMoreData when the connection ends, and gunicorn's other errors for a
    request that it refuses.

    gunicorn's settings that let a peer choose the scheme or the path must be off, as
    :mod:`gateway.server.standalone` sets them.
    """

    method: str
    uri: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    #: The stream that the application reads the body from.
    body: io.BufferedIOBase
    #: The names of ``headers`` as the client wrote them.
    names: list[str]

    # These attributes are the same for every ordinary request.
    fragment = ""
    scheme = "http"
    must_close = False
    version = (1, 1)
    _expected_100_continue = False
    #: The stream that reads the body from the connection; ``None`` for a request without one.
    raw_body: ClientBody | None = None

    def __init__(self, cfg: Any, unreader: Unreader, peer_addr: Any) -> None:
        data = unreader.read()
        if not data:
            raise NoMoreData
        if not self._read_ordinary(cfg, unreader, data):
            self._read_any(cfg, unreader, data, peer_addr)

    @property
    def expects_100_continue(self) -> bool:
        """Whether the client waits for "100 Continue" before its body (RFC 9110 §10.1.1)."""
        return self._expected_100_continue

    def should_close(self) -> bool:
        """Whether the client closes, or wants to close, the connection (RFC 9112 §9.3)."""
        if self.must_close or self.method == "CONNECT":
            return True
        values = [value for name, value in self.headers if name == "CONNECTION"]
        options = {option.strip(" \t").lower() for value in values for option in value.split(",")}
        return "close" in options or (self.version <= (1, 0) and "keep-alive" not in options)

    def set_body_reader(self) -> None:
        """Choose how to read the body. gunicorn's method judges the framing; its readers go."""
        super().set_body_reader()
        reader = self.body.reader  # type: ignore[attr-defined]  # gunicorn's own, until here
        if isinstance(reader, ChunkedReader):
            self.raw_body = ChunkedBody(self.unreader, self._take_trailers)
        elif reader.length:
            self.raw_body = LengthBody(self.unreader, reader.length)
        self.body = io.BytesIO() if self.raw_body is None else body_stream(self.raw_body)

    def _take_trailers(self, section: bytes) -> None:
        self.trailers = self.parse_headers(section, from_trailer=True)

    def _read_any(self, cfg: Any, unreader: Unreader, data: bytes, peer_addr: Any) -> None:
        """Read a head that is not ordinary, or that comes in several pieces."""
        # The worker answers a refused request in the form that its Accept field asks for.
        unreader.head = data
        if _HEAD_END not in data:
            unreader.head = data = read_head(unreader, data, cfg.limit_request_line)
            if self._read_ordinary(cfg, unreader, data):
                return
        if data.startswith(_HTTP_2_PREFACE):
            raise InvalidHTTPVersion((2, 0))
        end = data.find(_HEAD_END)
        # gunicorn does not count the fields that it drops, nor the bytes of them all.
        if (
            end + len(_HEAD_END) > HEAD_BYTES
            or data.count(b"\r\n", 0, end) > cfg.limit_request_fields + 1
        ):
            raise LimitRequestHeaders("too many header fields, or too large ones")
        unreader.unread(data)
        super().__init__(cfg, unreader, peer_addr)
        require_host(self.version, self.headers)
        limit_connection(self.headers)
        self.names = kept_names(data)

    def _read_ordinary(self, cfg: Any, unreader: Unreader, data: bytes) -> bool:
        """Read an ordinary head from ``data`` and unread what follows it; False if it is none."""
        head = _ORDINARY.match(data, 0, _ORDINARY_BYTES)
        if head is None:
            return False
        headers: list[tuple[str, str]] = []
        names: list[str] = []
        checked: list[str] = []
        for line in head[3].decode("latin-1").split("\r\n")[:-1]:
            written, _, value = line.partition(":")
            name = _UPPER_CASE[written]
            if name in _CHECKED_FIELDS:
                checked.append(name)
            headers.append((name, value.strip(" \t")))
            names.append(written)
        if len(headers) > cfg.limit_request_fields or not _are_unambiguous(checked):
            return False
        method, target, _ = head.groups()
        self.method = method.decode("latin-1")
        self.uri = target.decode("latin-1")
        self.path, _, self.query = self.uri.partition("?")
        self.headers = headers
        self.names = names
        self.unreader = unreader
        if head.end() < len(data):
            unreader.unread(data[head.end() :])
        if "CONTENT-LENGTH" in checked:
            self.set_body_reader()
        else:
            self.body = io.BytesIO()
        return True


def _are_unambiguous(checked: list[str]) -> bool:
    """Tell whether the fields that frame or route the request have one reading only."""
    return (
        "HOST" in checked and len(checked) == len(set(checked)) and _RARE_FIELDS.isdisjoint(checked)
    )
