"""The request that a decision is about, as the audit log names it.

A path has one spelling in the log, however the gateway runs: the one that the client sent, in
printable ASCII.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote
from wsgiref.types import WSGIEnvironment

from gateway.http.request_target import raw_target

#: A path that is written as it is, which is nearly every path.
_PLAIN = re.compile(r"/[!-\"$->@-~]*")
#: RFC 9112 §3.2.2. The authority is not logged: it may have a password in it.
_SCHEME_AND_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?#]*")
#: The end of a target that is never logged: clients put tokens into it.
_QUERY_OR_FRAGMENT = re.compile(r"[?#].*", re.DOTALL)

#: The printable characters that :func:`urllib.parse.quote` would escape, but for the space.
_PRINTABLE = "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}"
#: The same without the characters that a decoded path can only have from an escape.
_PRINTABLE_DECODED = "!\"$&'()*+,/:;<=>@[\\]^`{|}"


class JudgedRequest(NamedTuple):
    """What the audit log says of a request: its method, its path and its client's address.

    ``path`` is spelled by :func:`sent_path`.
    """

    method: str
    path: str
    address: str


def judged_request(environ: WSGIEnvironment, address: str) -> JudgedRequest:
    """Return the request of ``environ``, which came from ``address``.

    Where the server tells no raw target, the decoded path is written with escapes for ``%``, ``?``
    and ``#`` too, since the client must have sent them so.
    """
    raw = raw_target(environ)
    if raw:
        path = sent_path(raw)
    else:
        decoded = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        path = _escape(decoded, _PRINTABLE_DECODED)
    return JudgedRequest(environ["REQUEST_METHOD"], path, address)


def sent_path(target: str) -> str:
    """Return the path of a raw target as it was sent.

    Percent-escapes stay. A space, or a byte that is not printable ASCII, becomes ``%XX``. Query,
    fragment, scheme and authority are left out.
    """
    path = target.partition("?")[0]
    if _PLAIN.fullmatch(path):
        return path
    path = _QUERY_OR_FRAGMENT.sub("", _SCHEME_AND_AUTHORITY.sub("", target, count=1))
    return _escape(path or "/", _PRINTABLE)


def _escape(path: str, plain: str) -> str:
    # WSGI gives one byte a character. The log must not fail over a server that does not.
    return quote(path, plain, "latin-1", "backslashreplace")
