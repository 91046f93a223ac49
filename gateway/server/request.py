"""The head of a client's request: as nearly every client writes it, it is read in one step.

gunicorn's parser is strict and written in Python, line by line. Here one regular expression,
RFC 9112's grammar less all that is rare, tells whether a head is ordinary. Whatever is not
(another method, an empty line before it, Transfer-Encoding, Expect, a head in several pieces,
anything malformed) goes to gunicorn's parser as it came, and is judged there. So nothing is
accepted here that gunicorn would refuse or read in another way:
``tests/server/test_client_request.py`` compares the two.
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

#: RFC 9112 §3 and §5 with the origin-form only, one space, CRLF, and names that no two of
#: can become the same WSGI key. What begins with "//" is left to whoever knows URLs.
_ORDINARY = re.compile(
    rb"(DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT) (/(?:[!\"$-.0-~][!\"$-~]*)?) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
#: A shorter head cannot hold a line that is longer than the server's settings allow.
_ORDINARY_BYTES = 8190
#: Fields that may stand there once at most (RFC 9112 §3.2, RFC 9110 §5.3 and §8.6), and those that
#: ask for gunicorn.
_ONCE = frozenset({"HOST", "CONTENT-LENGTH", "CONTENT-TYPE"})
_EXTRAORDINARY = frozenset({"EXPECT", "TRANSFER-ENCODING"})
_NOTABLE = _ONCE | _EXTRAORDINARY


class _UpperCase(BoundedCache[str]):
    def compute(self, name: str) -> str:
        return name.upper()


_UPPER_CASE = _UpperCase()


class ClientRequest(Request):  # type: ignore[misc]  # gunicorn has no types
    """A request whose head has been read, and whose ``body`` has not.

    Its attributes are those of gunicorn's request: ``method``, ``uri`` (the raw target),
    ``path`` and ``query``, ``version`` as two numbers, and ``headers``, pairs of a name in upper
    case and a value. Raises gunicorn's NoMoreData where the connection ends, and its other errors
    for a request that it refuses.

    The settings that let a peer say its own scheme or path must be off, as
    :mod:`gateway.server.standalone` has them.
    """

    method: str
    uri: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: Body

    # What of gunicorn's attributes is the same for every ordinary request.
    fragment = ""
    scheme = "http"
    must_close = False
    version = (1, 1)
    _expected_100_continue = False
    #: Whether there may be a body, so that somebody has to read to its end.
    has_body = True

    def __init__(self, cfg: Any, unreader: Unreader, peer_addr: Any) -> None:
        data = unreader.read()
        if not data:
            raise NoMoreData
        if not self._is_ordinary(cfg, unreader, data):
            unreader.unread(data)
            super().__init__(cfg, unreader, peer_addr)
            require_host(self.version, self.headers)

    @property
    def expects_100_continue(self) -> bool:
        """Whether the client waits to be told to send its body (RFC 9110 §10.1.1)."""
        return self._expected_100_continue

    def _is_ordinary(self, cfg: Any, unreader: Unreader, data: bytes) -> bool:
        """Read an ordinary head off ``data``, and give back what follows it; False for others."""
        head = _ORDINARY.match(data)
        if head is None or head.end() > _ORDINARY_BYTES:
            return False
        headers: list[tuple[str, str]] = []
        notable: list[str] = []
        for line in head[3].decode("latin-1").split("\r\n")[:-1]:
            name, _, value = line.partition(":")
            name = _UPPER_CASE[name]
            if name in _NOTABLE:
                notable.append(name)
            headers.append((name, value.strip(" \t")))
        if len(headers) > cfg.limit_request_fields or not _are_ordinary(notable):
            return False
        method, target, _ = head.groups()
        self.method = method.decode("latin-1")
        self.uri = target.decode("latin-1")
        self.path, _, self.query = self.uri.partition("?")
        self.headers = headers
        self.unreader = unreader
        if head.end() < len(data):
            unreader.unread(data[head.end() :])
        if "CONTENT-LENGTH" in notable:
            self.set_body_reader()
        else:
            self.body = Body(LengthReader(unreader, 0))
            self.has_body = False
        return True


def _are_ordinary(notable: list[str]) -> bool:
    """Tell whether the fields that frame or route a request leave no question."""
    return (
        "HOST" in notable
        and len(notable) == len(set(notable))
        and _EXTRAORDINARY.isdisjoint(notable)
    )
