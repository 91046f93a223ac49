"""Paths as backends may read them.

Servers differ about ``%2F``, doubled slashes, ``;parameters`` and double escapes. The gateway
forwards the bytes it got, so it asks what each kind of server could make of them: a path
has one or more *readings*, and a request is decided only if all of them are decided alike
(:mod:`gateway.access.routes`). What no honest client sends, because every client resolves it before
it sends (RFC 3986 §5.2.4), is refused: dot segments, backslashes, control characters.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from gateway.http.path_reasons import PathReason

# Nothing in such a path can be read in two ways.
_PLAIN = re.compile(r"(?:/(?:[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)?)+")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_PARAMETERS = re.compile(r";[^/]*")
_SLASHES = re.compile(r"//+")
_AUTHORITY = re.compile(r"^//+[^/]*")
_END_OF_PATH = re.compile(r"[?#].*", re.DOTALL)
# RFC 3629 §3 forbids longer encodings than needed; a decoder that takes them reads '.' or '/'.
_OVERLONG = re.compile(r"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")
# No standard has it, and some servers decode it.
_UNICODE_ESCAPE = re.compile(r"%[uU][0-9A-Fa-f]{4}")

# How often a path may be decoded before it is taken for an attack.
_DEEPEST_ESCAPE = 4
# Every reading takes time; no honest path has half as many.
_MOST_READINGS = 16


class RefusedPath(Exception):  # noqa: N818 - says what became of it
    """The path is not one that an honest client sends.

    ``why`` is a PathReason without its prefix; the attribute is the whole of it.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = PathReason(f"path_{why}")


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
    _not_escaped_too_often(path)
    _without_control_characters(path, escaped=escaped)
    # A raw target is read decoded; PATH_INFO is read as it is, and a further time decoded
    # only by an application that decodes twice.
    first = [path]
    if escaped:
        raw = [path, _without_parameters(path)]
        raw += [_with_single_slashes(each) for each in raw]
        first = [decoded(each) for each in raw for decoded in (_decoded_but_for_slashes, _decoded)]
    found = dict.fromkeys(first)
    # Servers go these ways in different orders, so each is tried on what the others give.
    for reading in (queue := list(found)):
        _without_control_characters(reading, escaped=False)
        _without_dot_segments(reading)
        _without_odd_encodings(reading)
        for other in (way(reading) for way in _WAYS):
            if other not in found:
                found[other] = None
                queue.append(other)
        if len(found) > _MOST_READINGS:
            raise RefusedPath("too_many_readings")
    return tuple(found)


def _decoded(path: str) -> str:
    return unquote_to_bytes(path.encode("latin-1")).decode("latin-1")


def _decoded_but_for_slashes(path: str) -> str:
    return "%2F".join(_decoded(part) for part in re.split("%2[Ff]", path))


def _without_parameters(path: str) -> str:
    return _PARAMETERS.sub("", path)


def _with_single_slashes(path: str) -> str:
    return _SLASHES.sub("/", path)


def _without_query(path: str) -> str:
    return _END_OF_PATH.sub("", path) or "/"


def _without_authority(path: str) -> str:
    # RFC 3986 §4.2: what begins with two slashes is a network-path reference to a parser of
    # URIs that is given the target alone.
    return _AUTHORITY.sub("", path) or "/"


_WAYS = (
    _without_authority,
    _decoded_but_for_slashes,
    _decoded,
    _without_parameters,
    _with_single_slashes,
    _without_query,
)


def _not_escaped_too_often(path: str) -> None:
    for _ in range(_DEEPEST_ESCAPE):
        path = _decoded(path)
    if _ESCAPE.search(path):
        raise RefusedPath("escaped_too_often")


def _without_control_characters(path: str, *, escaped: bool) -> None:
    # A space is fine once it is decoded; raw, it would end the target.
    unsafe = _UNSAFE.search(path if escaped else path.replace(" ", ""))
    if unsafe:
        raise RefusedPath("backslash" if unsafe.group() == "\\" else "control_character")


def _without_dot_segments(path: str) -> None:
    for segment in path.split("/"):
        # Windows reads past the spaces at the end of a name.
        if segment.partition(";")[0].strip(" ") in {".", ".."}:
            raise RefusedPath("dot_segment")


def _without_odd_encodings(path: str) -> None:
    if _OVERLONG.search(path):
        raise RefusedPath("overlong_utf_8")
    if _UNICODE_ESCAPE.search(path):
        raise RefusedPath("unicode_escape")
