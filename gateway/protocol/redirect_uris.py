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

# RFC 3986 §3.1: a scheme is the same in either case.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")

# RFC 8252 §7.1: private-use schemes are a domain in reverse order, so they have a dot. Schemes
# without one are common on desktops, and accepted unless they are named here: a browser runs
# them, reads or mounts something, wraps another URI in them, or hands them to a program that
# everybody has and that does something with what it is handed.
_FORBIDDEN_SCHEMES = frozenset(
    {"about", "blob", "cid", "data", "feed", "file", "filesystem", "intent", "jar", "javascript"}
    | {"livescript", "mhtml", "mid", "mk", "mocha", "res", "resource", "shell", "vbscript"}
    | {"view-source", "wyciwyg"}
    | {"chrome", "chrome-extension", "edge", "moz-extension", "opera", "safari-extension"}
    | {"callto", "facetime", "facetime-audio", "geo", "im", "irc", "ircs", "magnet", "mailto"}
    | {"maps", "sip", "sips", "skype", "sms", "smsto", "tel", "xmpp"}
    | {"afp", "cifs", "dav", "davs", "ftp", "ftps", "git", "gopher", "ldap", "ldaps", "nfs"}
    | {"news", "nntp", "rdp", "rsync", "rtsp", "scp", "sftp", "smb", "ssh", "svn", "telnet"}
    | {"tftp", "tn3270", "vnc", "webcal", "ws", "wss"}
    | {"hcp", "help", "it", "search", "ymsgr"}
    | {"android-app", "app-settings", "itms", "itms-apps", "itms-services", "market", "prefs"}
)
# Windows hands these to its own programs; several have run what they were handed.
_FORBIDDEN_BEGINNINGS = ("ms-", "search-ms", "x-apple", "microsoft-edge")

# A host name as DNS and Content-Security-Policy know it, or an IPv6 address; then a port.
_HOST_AND_PORT = re.compile(
    r"(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
)

_PORT_AND_REST = r"(?::([0-9]{1,5}))?(/[^?#]*)?(\?[^#]*)?"
_LOOPBACK = re.compile(rf"http://(127\.0\.0\.1|\[::1\]){_PORT_AND_REST}")
_LOOPBACK_NAME = re.compile(rf"http://(127\.0\.0\.1|\[::1\]|localhost){_PORT_AND_REST}")


def redirect_uri_fault(uri: str) -> str | None:
    """Say why ``uri`` may not be registered as a redirection URI, or ``None`` if it may.

    It must be absolute and without a fragment (RFC 6749 §3.1.2), without user information,
    and not of a scheme that runs or reads something where it lands (RFC 9700 §4.1).
    Plain ``http`` is for loopback hosts alone (OAuth 2.1 §2.3.1). A private-use scheme may stand
    for itself: ``com.example.app:`` (RFC 8252 §7.1).
    """
    if "#" in uri:
        return "has a fragment (RFC 6749 section 3.1.2)"
    if not _URI_CHARACTERS.fullmatch(uri):
        return "has characters that no URI has, or is empty"
    scheme, colon, rest = uri.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        return "is not an absolute URI, which begins with a scheme such as https"
    if _LOOKS_LIKE_A_PORT.match(rest) and (is_loopback_host(scheme) or "." in scheme):
        return f"has no scheme; write http://{uri} or https://{uri}"
    if uri.startswith("urn:ietf:wg:oauth:2.0:oob"):
        return "is the out-of-band value, which is not served: use a loopback URI (RFC 8252 §7.3)"
    lowered = scheme.lower()
    if lowered in _FORBIDDEN_SCHEMES or lowered.startswith(_FORBIDDEN_BEGINNINGS):
        return f"has the scheme {scheme!r}, which is never sent an authorization code"
    if lowered in {"http", "https"}:
        if scheme != lowered:
            return f"has its scheme in upper case; write {lowered}"
        return _web_uri_fault(uri, scheme)
    if lowered == "urn" or not (rest.strip("/") or "." in scheme):
        return "names no place to come back to"
    return None


_LOOKS_LIKE_A_PORT = re.compile(r"[0-9]{1,5}(?:/|$)")


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
    """Tell whether ``host``, without brackets or port, names the user's own machine.

    RFC 6761 §6.3: also every name below ``localhost``.
    """
    name = host.lower().removesuffix(".")
    return (
        name in {"localhost", "::1"}
        or name.endswith(".localhost")
        or (
            re.fullmatch(r"127(\.[0-9]{1,3}){3}", name) is not None
            and all(int(part) < 256 for part in name.split("."))  # noqa: PLR2004 - an octet
        )
    )


def matches_registered(
    requested: str, registered: Sequence[str], *, loopback_ports: bool = False
) -> bool:
    """Tell whether ``requested`` is one of the ``registered`` URIs.

    Equal character for character, or equal but for the port where the registered URI is a
    loopback IP literal (RFC 8252 §7.3). With ``loopback_ports``, which a client may be registered
    with, also where it is of ``localhost`` (its §8.3 advises against that name).
    """
    form = _LOOPBACK_NAME if loopback_ports else _LOOPBACK
    return requested in registered or any(
        _equal_but_for_port(form.fullmatch(requested), form.fullmatch(uri)) for uri in registered
    )


def names_localhost_without_port(uri: str) -> bool:
    """Tell whether a registered URI is good for no native application that picks its port."""
    form = _LOOPBACK_NAME.fullmatch(uri)
    return form is not None and form.group(1) == "localhost" and form.group(2) is None


def _equal_but_for_port(asked: re.Match[str] | None, known: re.Match[str] | None) -> bool:
    if asked is None or known is None:
        return False
    port = asked.group(2)
    if port is not None and not 0 < int(port) <= 65_535:  # noqa: PLR2004 - RFC 6335 §6
        return False
    return asked.group(1, 3, 4) == known.group(1, 3, 4)
