"""What the right answer is, worked out without the code under test.

Two questions: may a client that registered these URIs be answered at that one (RFC 9700 §2.1 and
RFC 8252 §7.3), and where does a browser go that is sent to a URI (as browsers read it, which is
the WHATWG URL Standard and not RFC 3986).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote

_LOOPBACK_PREFIXES = (b"http://127.0.0.1", b"http://[::1]")

#: Schemes that run what they are given, read files, or are handed to a program of the desktop.
DANGEROUS = frozenset(
    {"about", "blob", "data", "file", "filesystem", "ftp", "javascript", "mailto", "vbscript"}
    | {"view-source", "ws", "wss", "chrome", "resource", "intent", "jar", "ms-msdt", "search-ms"}
    | {"ssh", "tel"}
)
#: Schemes for which a browser looks for a host, and takes a backslash for a slash.
_SPECIAL = frozenset({"http", "https", "ftp", "ws", "wss", "file"})


def is_registered(asked: bytes, registered: Iterable[bytes]) -> bool:
    """Tell whether ``asked`` is one of the registered URIs, or one but for its loopback port."""
    return any(asked == uri or _differs_in_loopback_port(asked, uri) for uri in registered)


def _differs_in_loopback_port(asked: bytes, registered: bytes) -> bool:
    return any(
        asked.startswith(prefix)
        and registered.startswith(prefix)
        and _without_port(asked[len(prefix) :]) is not None
        and _without_port(asked[len(prefix) :]) == _without_port(registered[len(prefix) :])
        for prefix in _LOOPBACK_PREFIXES
    )


def _without_port(rest: bytes) -> bytes | None:
    """Return what stands behind the port, if there is a port from 1 to 65535 or none."""
    if rest[:1] != b":":
        return rest if rest[:1] in {b"", b"/", b"?"} else None
    port = rest[1:].partition(b"/")[0].partition(b"?")[0]
    digits = set(port) <= set(b"0123456789") and 1 <= len(port) <= 5
    return rest[1 + len(port) :] if digits and 1 <= int(port) <= 65_535 else None


class Destination(NamedTuple):
    """Where a browser goes: to the host of a scheme, or '' where a scheme has no host."""

    scheme: str
    host: str


def destination(uri: str) -> Destination | None:
    """Return where a browser goes that gets ``uri`` in a Location, or None for nowhere."""
    text = re.sub(r"[\t\n\r]", "", uri.strip("".join(map(chr, range(33)))))
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or not re.fullmatch(r"[a-z][a-z0-9+.\-]*", scheme):
        return None
    if scheme not in _SPECIAL:
        return Destination(scheme, "")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0].replace("\\", "/").lstrip("/")
    authority = rest.partition("/")[0].rpartition("@")[2]
    host = unquote(re.sub(r":[0-9]*$", "", authority)).lower()
    return Destination(scheme, host) if host else None


def is_own_machine(host: str) -> bool:
    """Tell whether a host is the user's own machine: a loopback address, or RFC 6761 §6.3."""
    name = host.removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if host.startswith("["):
        return host == "[::1]"
    address = _ipv4(name)
    return address is not None and address >> 24 == 127


def _ipv4(name: str) -> int | None:
    """Return the IPv4 address that a browser reads in a name, or None: WHATWG URL §3.5."""
    *first, last = name.split(".")
    try:
        numbers = [_number(part) for part in first]
        rest = _number(last)
    except ValueError:
        return None
    if len(first) > 3 or max([0, *numbers]) > 255 or rest >= 256 ** (4 - len(first)):
        return None
    return sum(number << 24 - 8 * place for place, number in enumerate(numbers)) + rest


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8 if part.startswith("0") else 10)


def is_dangerous(uri: str) -> bool:
    """Tell whether nobody may register ``uri``, however they spell it.

    RFC 6749 §3.1.2 (absolute, no fragment), RFC 9700 §4.1 (no scheme that runs anything),
    OAuth 2.1 §2.3.1 (no http but to the user's own machine); and the browser must go to the host
    that a person reads, also with the parameters of the answer behind it.
    """
    goes_to = destination(uri)
    if goes_to is None or goes_to.scheme in DANGEROUS or "#" in uri:
        return True
    if not all("!" <= character <= "~" for character in uri):
        return True
    if goes_to.scheme not in {"http", "https"}:
        return False
    read = re.match(r"https?://([^/?]*)", uri, re.IGNORECASE)
    if read is None or re.sub(r":[0-9]+$", "", read[1]).lower() != goes_to.host:
        return True
    if goes_to.scheme == "http" and not is_own_machine(goes_to.host):
        return True
    return destination(f"{uri}{'&' if '?' in uri else '?'}code=x") != goes_to
