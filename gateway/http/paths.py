"""Paths as servers may read them: what a path *may* mean is a set of readings, worked out here.

Servers differ about ``%2F``, doubled slashes, ``;parameters``, backslashes, letters of either
case, and more. The gateway forwards the bytes it got. So it asks what each kind of server could
make of them, and :mod:`gateway.access.routes` lets the strictest rule among all readings decide.
A variant of a path never meets a laxer rule than the path itself.

:data:`READINGS` is the table: each reading, and the servers that make it. They are of two kinds:

- A reading of *structure* says where a path divides. Servers apply these in different orders, so
  :func:`readings` tries each on what the others give.
- A reading of *spelling* says which names are the same name. It holds for the rules as well as
  for the path, so :func:`folded` writes both in one spelling, and these are compared.

A path that no honest client sends is refused. Every client resolves dot segments before it sends
(RFC 3986 §5.2.4), and none sends a raw backslash or a control character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from gateway.http.path_reasons import PathReason

# RFC 3986 §3.3: a path of these has one structure.
_PLAIN = re.compile(r"(?:/(?:[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)?)+")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNSAFE_RAW = re.compile(r"[\x00-\x20\x7f\\]")
# Tab and line ends stand in names that people give to notes and files. Nothing else does.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LINE_BREAKS = re.compile(r"[\t\n\r]")
_PARAMETERS = re.compile(r";[^/]*")
_SLASHES = re.compile(r"//+")
_AUTHORITY = re.compile(r"^//+[^/]*")
_END_OF_PATH = re.compile(r"[?#].*", re.DOTALL)
_UNICODE_ESCAPE = re.compile(r"%[uU]([0-9A-Fa-f]{4})")
# RFC 3629 §3 forbids encodings that are longer than needed.
_OVERLONG = re.compile(
    r"[\xc0\xc1][\x80-\xbf]|\xe0[\x80-\x9f][\x80-\xbf]|\xf0[\x80-\x8f][\x80-\xbf]{2}"
)
_STRUCTURAL = frozenset("/\\.%;?#")

# How often a path may be decoded before it is taken for an attack.
_DEEPEST_ESCAPE = 4
# Each reading takes time. No honest path has half as many.
_MOST_READINGS = 32


class RefusedPath(Exception):  # noqa: N818 - says what became of it
    """The path is not one that an honest client sends; ``why`` is for the audit log."""

    def __init__(self, why: PathReason) -> None:
        super().__init__(why)
        self.why = why


class Reading(NamedTuple):
    """One way to read a path: its name, the servers that read so, and what they make of it."""

    name: str
    servers: str
    read: Callable[[str], str]


def readings(path: str, *, escaped: bool) -> tuple[str, ...]:
    """Return every structure that ``path`` may have, decoded, the plainest first.

    ``path`` holds one byte a character (latin-1), without the query. ``escaped`` tells
    whether it is a raw target (its percent-escapes are the client's) or WSGI's decoded
    PATH_INFO. The work is linear in the path's length. Raises RefusedPath.
    """
    if _PLAIN.fullmatch(path) and "//" not in path:
        return (path,)
    if not path.startswith("/"):
        raise RefusedPath(PathReason.NOT_ABSOLUTE)
    if escaped:
        _refuse_raw_octets(path)
    _refuse_deep_escapes(path)
    found = dict.fromkeys(_first_readings(path, escaped=escaped))
    for reading in (queue := list(found)):
        _refuse_dishonest(reading)
        for way in STRUCTURE:
            other = way.read(reading)
            if other not in found:
                found[other] = None
                queue.append(other)
        if len(found) > _MOST_READINGS:
            raise RefusedPath(PathReason.TOO_MANY_READINGS)
    return tuple(found)


def _first_readings(path: str, *, escaped: bool) -> Iterator[str]:
    # A raw target is read decoded. PATH_INFO is read as it is, and decoded once more only by an
    # application that decodes twice.
    if not escaped:
        yield path
        return
    raw = [path, _without_parameters(path)]
    raw += [_with_single_slashes(each) for each in raw]
    for each in raw:
        yield _decoded_but_for_slashes(each)
        yield _decoded(each)


# --- What is refused


def _refuse_raw_octets(path: str) -> None:
    """RFC 3986 §3.3: these are no characters of a path, unless they are escaped."""
    if "#" in path or "?" in path:
        raise RefusedPath(PathReason.NOT_A_PATH)
    unsafe = _UNSAFE_RAW.search(path)
    if unsafe:
        raise RefusedPath(
            PathReason.BACKSLASH if unsafe.group() == "\\" else PathReason.CONTROL_CHARACTER
        )


def _refuse_deep_escapes(path: str) -> None:
    for _ in range(_DEEPEST_ESCAPE):
        path = _decoded(path)
    if _ESCAPE.search(path):
        raise RefusedPath(PathReason.ESCAPED_TOO_OFTEN)


def _refuse_dishonest(reading: str) -> None:
    if _CONTROL.search(reading):
        raise RefusedPath(PathReason.CONTROL_CHARACTER)
    for segment in reading.split("/"):
        # Windows reads past the spaces at the end of a name.
        if segment.partition(";")[0].strip(" ") in {".", ".."}:
            raise RefusedPath(PathReason.DOT_SEGMENT)


# --- Readings of structure


def _decoded(path: str) -> str:
    return unquote_to_bytes(path.encode("latin-1")).decode("latin-1") if "%" in path else path


def _decoded_but_for_slashes(path: str) -> str:
    if "%" not in path:
        return path
    return "%2F".join(_decoded(part) for part in re.split("%2[Ff]", path))


def _without_parameters(path: str) -> str:
    return _PARAMETERS.sub("", path) if ";" in path else path


def _with_single_slashes(path: str) -> str:
    return _SLASHES.sub("/", path) if "//" in path else path


def _without_query(path: str) -> str:
    return _END_OF_PATH.sub("", path) or "/"


def _without_authority(path: str) -> str:
    # RFC 3986 §4.2: two slashes begin a network-path reference.
    return _AUTHORITY.sub("", path) or "/" if path.startswith("//") else path


def _with_forward_slashes(path: str) -> str:
    return path.replace("\\", "/")


def _without_line_breaks(path: str) -> str:
    return _LINE_BREAKS.sub("", path)


def _up_to_line_break(path: str) -> str:
    return _LINE_BREAKS.split(path, maxsplit=1)[0] or "/"


def _after_line_break(path: str) -> str:
    return "/" + _LINE_BREAKS.split(path)[-1].lstrip("/") if _LINE_BREAKS.search(path) else path


def _with_unicode_escapes_decoded(path: str) -> str:
    if "%u" not in path and "%U" not in path:
        return path

    def decoded(escape: re.Match[str]) -> str:
        character = chr(int(escape.group(1), 16))
        if character in _STRUCTURAL:
            raise RefusedPath(PathReason.UNICODE_ESCAPE)
        return character.encode("utf-8", "replace").decode("latin-1")

    return _UNICODE_ESCAPE.sub(decoded, path)


def _with_overlong_decoded(path: str) -> str:
    if path.isascii():
        return path

    def decoded(encoding: re.Match[str]) -> str:
        lead, *rest = (ord(each) for each in encoding.group())
        number = lead & (0x1F if lead < 0xE0 else 0x0F if lead < 0xF0 else 0x07)  # noqa: PLR2004
        for each in rest:
            number = number << 6 | each & 0x3F
        character = chr(number)
        if character in _STRUCTURAL or _CONTROL.match(character):
            raise RefusedPath(PathReason.OVERLONG_UTF_8)
        return character.encode().decode("latin-1")

    return _OVERLONG.sub(decoded, path)


# Code pages of Windows turn these into ASCII where a program asks for its best guess.
_BEST_FIT = str.maketrans({"\u2044": "/", "\u2215": "/", "\u29f8": "/", "\u2216": "\\"})


def _in_compatibility_form(path: str) -> str:
    """UAX #15: two U+FF0E become ``..``, which such a server resolves after its own check."""
    if path.isascii():
        return path
    plain = unicodedata.normalize("NFKC", text(path).translate(_BEST_FIT))
    plain = plain.replace("\\", "/")
    return _without_dot_segments(plain).encode().decode("latin-1")


def _without_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4."""
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


STRUCTURE: tuple[Reading, ...] = (
    Reading("authority", "parsers of URIs: Node's url.parse, PHP's parse_url", _without_authority),
    Reading("decoded, %2F kept", "Tomcat, Jetty, Apache", _decoded_but_for_slashes),
    Reading("decoded", "WSGI, Rack, nginx, IIS; a second time behind a proxy", _decoded),
    Reading("without ;parameters", "Tomcat, Jetty, Spring, Rails before 5", _without_parameters),
    Reading("single slashes", "nginx, Apache, Go's ServeMux", _with_single_slashes),
    Reading("up to ? or #", "whoever parses a decoded path again", _without_query),
    Reading("backslash is a slash", "IIS, ASP.NET, Node and Go on Windows", _with_forward_slashes),
    Reading("without line breaks", "parsers of the WHATWG URL standard", _without_line_breaks),
    Reading(
        "up to a line break", "regular expressions with $, Django before 1.11", _up_to_line_break
    ),
    Reading("after a line break", "regular expressions with ^, in Ruby", _after_line_break),
    Reading("%uXXXX decoded", "IIS, ASP", _with_unicode_escapes_decoded),
    Reading("overlong UTF-8 decoded", "decoders older than RFC 3629", _with_overlong_decoded),
    Reading("compatibility form", "whoever normalizes by NFKC; code pages", _in_compatibility_form),
)


# --- Readings of spelling

# NTFS: a stream of a directory or a file that is that directory or file itself.
_STREAM = re.compile(r":[^/:]*:\$[^/]*|:\$[^/]*")
_ENDS_OF_NAMES = re.compile(r"[. ]+(?=/|$)")
_ODD_SPELLING = re.compile(r"[. ](?:/|$)|/ |:\$")


def text(path: str) -> str:
    """Return the characters of a path that holds one byte a character: UTF-8, else Latin-1."""
    if path.isascii():
        return path
    try:
        return path.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return path


def folded(path: str) -> str:
    """Return the one spelling of all paths that some server takes for this one.

    ``path`` is text, of a request or of a rule.
    """
    if path.isascii() and _ODD_SPELLING.search(path) is None:
        lowered = path.lower()
        # The same object where nothing changed, so that callers see that at once.
        return path if lowered == path else lowered
    for way in SPELLING:
        path = way.read(path)
    return path


def folded_letters(name: str) -> str:
    """Return the letters of a part of a name in their one spelling."""
    return _in_one_case(_without_marks(name))


def _in_one_case(path: str) -> str:
    # Upper case first: it makes one letter of i and U+0131, and of s and U+017F.
    return path.upper().casefold()


def _without_marks(path: str) -> str:
    """Return the base letters; characters that are not displayed go, too."""
    return "".join(
        each
        for each in unicodedata.normalize("NFKD", path)
        if unicodedata.category(each) not in {"Mn", "Cf"}
    )


def _without_streams(path: str) -> str:
    return _STREAM.sub("", path)


def _without_ends_of_names(path: str) -> str:
    return _ENDS_OF_NAMES.sub("", path).replace("/ ", "/")


SPELLING: tuple[Reading, ...] = (
    Reading("base letters", "MySQL's collations; HFS+ passes over unseen ones", _without_marks),
    Reading("one case", "IIS, Windows, macOS, Express, ASP.NET", _in_one_case),
    Reading("without NTFS streams", "IIS", _without_streams),
    Reading("without dots and spaces at the end", "Windows", _without_ends_of_names),
)


def with_other_end(path: str) -> str:
    """Return the path with the slash at its end that it lacks, or without those that it has."""
    return (path.rstrip("/") or "/") if path.endswith("/") else path + "/"


# --- Readings that leave out the end of a name

_INDEX = re.compile(r"/(?:index|default)\.[a-z0-9]+/?$")
_FORMAT = re.compile(r"\.[a-z0-9_-]+/?$")
_SCRIPT = re.compile(r"\.(?:php[0-9]?|f?cgi|pl|py|rb|as[hmp]x?|jspx?|cfm)(?=/)")


def _without_index(path: str) -> str:
    return _INDEX.sub("/", path)


def _without_format(path: str) -> str:
    return _FORMAT.sub("", path)


def _up_to_script(path: str) -> str:
    script = _SCRIPT.search(path)
    return path[: script.end()] if script else path


ENDINGS: tuple[Reading, ...] = (
    Reading("folder of an index file", "every server of files", _without_index),
    Reading("without a format", "Rails, Spring before 5.3", _without_format),
    Reading("script before its PATH_INFO", "CGI, PHP, Apache, IIS", _up_to_script),
)

#: Every reading there is.
READINGS: tuple[Reading, ...] = (
    *STRUCTURE,
    *SPELLING,
    Reading("with another end", "Express, Flask without strict_slashes", with_other_end),
    *ENDINGS,
)
