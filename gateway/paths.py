"""Paths as backends may read them.

Servers differ about ``%2F``, doubled slashes, ``;parameters`` and double escapes. The gateway
forwards the bytes it got, so it asks what each kind of server could make of them: a path
has one or more *readings*, and a request is decided only if all of them are decided alike
(:mod:`gateway.routes`). What no honest client sends, because every client resolves it before
it sends (RFC 3986 §5.2.4), is refused: dot segments, backslashes, control characters.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

# Nothing in such a path can be read in two ways.
_PLAIN = re.compile(r"(?:/(?:[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)?)+")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_PARAMETERS = re.compile(r";[^/]*")
_SLASHES = re.compile(r"//+")

# How often a path may be decoded before it is taken for an attack.
_DEEPEST_ESCAPE = 4


class RefusedPath(Exception):  # noqa: N818 - says what became of it
    """The path is not one that an honest client sends; ``why`` is for the audit log."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def readings(path: str, *, escaped: bool) -> tuple[str, ...]:
    """Return every way to read ``path``, decoded, the plainest first.

    ``path`` holds one byte a character (latin-1), without the query. ``escaped`` tells
    whether it is a raw target (its percent-escapes are the client's) or WSGI's decoded
    PATH_INFO. Raises RefusedPath.
    """
    if _PLAIN.fullmatch(path) and "//" not in path:
        return (path,)
    if not path.startswith("/"):
        raise RefusedPath("not_absolute")
    if escaped and ("#" in path or "?" in path):
        raise RefusedPath("not_a_path")
    decoded = [path]
    while len(decoded) <= _DEEPEST_ESCAPE and _ESCAPE.search(decoded[-1]):
        decoded.append(_decoded_once(decoded[-1]))
    if _ESCAPE.search(decoded[-1]):
        raise RefusedPath("escaped_too_often")
    for each in decoded:
        _without_control_characters(each, escaped=escaped and each is path)
        _without_dot_segments(each)
    # A raw target is read decoded; PATH_INFO is read as it is, and a further time decoded
    # only by an application that decodes twice.
    shown = decoded[1:] if escaped and len(decoded) > 1 else decoded
    found = [_decoded_but_for_slashes(path)] if escaped else []
    for each in shown:
        cut = re.split(r"[?#]", each, maxsplit=1)[0] or "/"
        found += [each, cut, _SLASHES.sub("/", _PARAMETERS.sub("", cut)), _SLASHES.sub("/", each)]
    return tuple(dict.fromkeys(found))


def _decoded_once(path: str) -> str:
    return unquote_to_bytes(path.encode("latin-1")).decode("latin-1")


def _decoded_but_for_slashes(path: str) -> str:
    return "%2F".join(_decoded_once(part) for part in re.split("%2[Ff]", path))


def _without_control_characters(path: str, *, escaped: bool) -> None:
    # A space is fine once it is decoded; raw, it would end the target.
    unsafe = _UNSAFE.search(path if escaped else path.replace(" ", ""))
    if unsafe:
        raise RefusedPath("backslash" if unsafe.group() == "\\" else "control_character")


def _without_dot_segments(path: str) -> None:
    for segment in path.split("/"):
        if segment.partition(";")[0] in {".", ".."}:
            raise RefusedPath("dot_segment")
