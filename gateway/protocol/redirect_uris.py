"""Redirection URIs: which may be registered, and which request matches a registered one.

Two URIs match if they are equal character by character (RFC 9700 §2.1, RFC 6749 §3.1.2.3). The
one exception is the port of a loopback address, which a native application picks when it starts
(RFC 8252 §7.3). Neither URI is normalised first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

# RFC 3986 §2: the characters of a URI, less '#', which starts the fragment.
_URI_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]+")

# RFC 8252 §7.1: a private-use scheme is a domain in reverse order, so it has a dot. Desktop
# applications use schemes without a dot too; they are accepted unless forbidden below.
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*")

# Schemes that a browser executes, reads from the disk, or wraps another URL in.
_FORBIDDEN_SCHEMES = frozenset(
    {"about", "blob", "chrome", "data", "file", "filesystem", "ftp", "intent", "javascript"}
    | {"mailto", "resource", "vbscript", "view-source", "ws", "wss"}
)

# A host name as DNS and Content-Security-Policy know it, or an IPv6 address; then a port.
_HOST_AND_PORT = re.compile(
    r"(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
)

_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\])(?::(\d{1,5}))?(/[^?#]*)?(\?[^#]*)?")


def redirect_uri_fault(uri: str) -> str | None:
    """Say why ``uri`` may not be registered as a redirection URI, or ``None`` if it may.

    It must be absolute and without a fragment (RFC 6749 §3.1.2), without user information,
    and not of a scheme that runs or reads something where it lands (RFC 9700 §4.1).
    Plain ``http`` is for loopback hosts alone (OAuth 2.1 §2.3.1).
    """
    if "#" in uri:
        return "has a fragment (RFC 6749 section 3.1.2)"
    if not _URI_CHARACTERS.fullmatch(uri):
        return "has characters that no URI has, or is empty"
    scheme, colon, rest = uri.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        return "is not an absolute URI with a scheme in lower case"
    if scheme in _FORBIDDEN_SCHEMES:
        return f"has the scheme {scheme!r}, which is never sent an authorization code"
    if not rest.strip("/"):
        return "names no place to come back to"
    if scheme not in {"http", "https"}:
        return None
    return _web_uri_fault(uri, scheme)


def _web_uri_fault(uri: str, scheme: str) -> str | None:
    try:
        parts = urlsplit(uri)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "has a host or port that cannot be read"
    if not host or not uri.startswith(f"{scheme}://"):
        return "has no host"
    if "@" in parts.netloc:
        return "has user information before the host"
    if not _HOST_AND_PORT.fullmatch(parts.netloc):
        return "has a host or port that cannot be read"
    if re.search(r"(^|/)(\.|%2e){1,2}(/|$)", parts.path, re.IGNORECASE):
        return "has a dot segment in its path"
    if scheme == "http" and not is_loopback_host(host):
        return "uses http to a host that is not the user's own machine; use https"
    return None


def is_loopback_host(host: str) -> bool:
    """Tell whether ``host``, without brackets or port, names the user's own machine."""
    return host in {"localhost", "::1"} or (
        re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
        and all(int(part) < 256 for part in host.split("."))  # noqa: PLR2004 - an octet
    )


def matches_registered(requested: str, registered: Sequence[str]) -> bool:
    """Tell whether ``requested`` is one of the ``registered`` URIs.

    Equal character for character, or equal but for the port where the registered URI is a
    loopback IP literal (RFC 8252 §7.3; ``localhost`` is not, see its §8.3).
    """
    return requested in registered or any(
        _equal_but_for_loopback_port(requested, uri) for uri in registered
    )


def _equal_but_for_loopback_port(requested: str, registered: str) -> bool:
    asked, known = _LOOPBACK.fullmatch(requested), _LOOPBACK.fullmatch(registered)
    if asked is None or known is None:
        return False
    port = asked.group(2)
    if port is not None and not 0 < int(port) <= 65_535:  # noqa: PLR2004 - RFC 6335 §6
        return False
    return asked.group(1, 3, 4) == known.group(1, 3, 4)
