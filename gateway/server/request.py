"""The head of a client's request: a head as nearly every client writes it is read in one step.

gunicorn's parser is strict, but it is written in Python and goes line by line. Here one regular
expression recognises an ordinary head: the grammar of RFC 9112 without its rare parts. Every other
head goes to gunicorn's parser unchanged: another method, an empty line before it,
Transfer-Encoding, Expect, a head in several pieces, anything malformed. So this module accepts
nothing that gunicorn would refuse or read differently; ``tests/server/test_client_request.py``
compares the two.
"""

from __future__ import annotations

import re
from typing import Any

from gunicorn.http.body import Body, LengthReader
from gunicorn.http.errors import NoMoreData
from gunicorn.http.message import Request
from gunicorn.http.unreader import Unreader

from gateway.http.bounded_cache import BoundedCache
from gateway.server.parse_errors import require_host

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
    body: Body

    # These attributes are the same for every ordinary request.
    fragment = ""
    scheme = "http"
    must_close = False
    version = (1, 1)
    _expected_100_continue = False
    #: Whether there may be a body, which then has to be read to its end.
    has_body = True

    def __init__(self, cfg: Any, unreader: Unreader, peer_addr: Any) -> None:
        data = unreader.read()
        if not data:
            raise NoMoreData
        if not self._read_ordinary(cfg, unreader, data):
            unreader.unread(data)
            super().__init__(cfg, unreader, peer_addr)
            require_host(self.version, self.headers)

    @property
    def expects_100_continue(self) -> bool:
        """Whether the client waits for "100 Continue" before its body (RFC 9110 §10.1.1)."""
        return self._expected_100_continue

    def _read_ordinary(self, cfg: Any, unreader: Unreader, data: bytes) -> bool:
        """Read an ordinary head from ``data`` and unread what follows it; False if it is none."""
        head = _ORDINARY.match(data)
        if head is None or head.end() > _ORDINARY_BYTES:
            return False
        headers: list[tuple[str, str]] = []
        checked: list[str] = []
        for line in head[3].decode("latin-1").split("\r\n")[:-1]:
            name, _, value = line.partition(":")
            name = _UPPER_CASE[name]
            if name in _CHECKED_FIELDS:
                checked.append(name)
            headers.append((name, value.strip(" \t")))
        if len(headers) > cfg.limit_request_fields or not _are_unambiguous(checked):
            return False
        method, target, _ = head.groups()
        self.method = method.decode("latin-1")
        self.uri = target.decode("latin-1")
        self.path, _, self.query = self.uri.partition("?")
        self.headers = headers
        self.unreader = unreader
        if head.end() < len(data):
            unreader.unread(data[head.end() :])
        if "CONTENT-LENGTH" in checked:
            self.set_body_reader()
        else:
            self.body = Body(LengthReader(unreader, 0))
            self.has_body = False
        return True


def _are_unambiguous(checked: list[str]) -> bool:
    """Tell whether the fields that frame or route the request have one reading only."""
    return (
        "HOST" in checked and len(checked) == len(set(checked)) and _RARE_FIELDS.isdisjoint(checked)
    )
