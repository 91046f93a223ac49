"""The head of a client's request, read up to its end, with a limit on its size and on its time.

gunicorn's parser copies and searches all that has come whenever a piece comes. So it gets a head
only when that is complete, or when it refuses the bytes that are there. The work of this module
grows with the size of the head and with nothing else.
"""

from __future__ import annotations

import re

import gevent
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.unreader import Unreader

from gateway.server.parse_errors import HeadTimeout

#: Request line and header fields, all together.
HEAD_BYTES = 65_536
#: The time from the first bytes of a head to its end.
HEAD_SECONDS = 20.0

_END = b"\r\n\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")
_REQUEST_LINE = re.compile(rb"[^ \r\n]+ [^ \r\n]+ HTTP/[0-9]\.[0-9]\r\n")


def read_head(unreader: Unreader, data: bytes, line_bytes: int) -> bytes:
    """Read on from ``data`` to the end of the head, and return all bytes that have come.

    The head is incomplete if the client broke off, or if its beginning is malformed already:
    gunicorn's parser refuses that without reading on. ``line_bytes`` is the limit of the request
    line. Raises LimitRequestHeaders beyond HEAD_BYTES, and HeadTimeout.
    """
    head = bytearray(data)
    searched = 0
    with gevent.Timeout(HEAD_SECONDS, HeadTimeout):
        while head.find(_END, max(0, searched - 3)) < 0:
            if _is_malformed(head, searched, line_bytes):
                return bytes(head)
            if len(head) > HEAD_BYTES:
                raise LimitRequestHeaders("the head is too large")
            searched = len(head)
            piece = unreader.read()
            if not piece:
                return bytes(head)
            head += piece
    return bytes(head)


def _is_malformed(head: bytearray, searched: int, line_bytes: int) -> bool:
    """Whether the incomplete ``head`` can be refused; up to ``searched`` it has no bare LF."""
    if _BARE_LF.search(head, searched) is not None:
        return True
    start = _start(head)
    if head.find(b"\r\n", start, start + line_bytes + 2) < 0:
        return len(head) - start > line_bytes + 2
    return _REQUEST_LINE.match(head, start) is None


def _start(head: bytes | bytearray) -> int:
    """RFC 9112 §2.2: a server ignores one empty line before the request."""
    return 2 if head.startswith(b"\r\n") else 0


def kept_names(head: bytes) -> list[str]:
    """Return the names of the fields that gunicorn's parser keeps of ``head``, as they came.

    It drops the names with an underscore (docs/deploy.md).
    """
    start = _start(head)
    lines = head[start : head.index(_END, start)].decode("latin-1").split("\r\n")[1:]
    names = [line.partition(":")[0] for line in lines]
    return [name for name in names if "_" not in name]
