"""What else a request names: its host, and a second target (RFC 4918 §10.3)."""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.http.path_reasons import PathReason
from gateway.http.paths import RefusedPath

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_PORT = re.compile(r":[0-9]*$")
#: RFC 4918 §10.3: an absolute URI, or a path with a query perhaps.
_DESTINATION = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]*://([^/?#]*))?(/[^?#]*)?([?#].*)?")
_SECOND_VALUE = re.compile(r",\s*(?:/|[A-Za-z][A-Za-z0-9+.\-]*:)")
#: RFC 9110 §9.3 and RFC 5789: these have one target. Every other method may name a second one.
_ONE_TARGET = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Target(NamedTuple):
    """A host in lower case without a port, '' where it is not told, and a raw path."""

    host: str
    path: str


def normal_host(authority: str) -> str:
    """Return the host of a Host field as rules name it (RFC 3986 §3.2.2, §6.2.2.1).

    In lower case, without a port and without the dot at the end of a whole name.
    """
    host = _PORT.sub("", authority) if not authority.endswith("]") else authority
    return host.lower().rstrip(".")


def same_authority(scheme: str, one: str, other: str) -> bool:
    """Tell whether two authorities are one (RFC 9110 §4.2.3): a default port may be left out."""
    default = _DEFAULT_PORTS.get(scheme.lower(), ":")

    def normal(authority: str) -> str:
        return authority.lower().removesuffix(default).removesuffix(":")

    return normal(one) == normal(other)


def second_target(method: str, destination: str | None) -> Target | None:
    """Return the target that a Destination field names, ``None`` where it means nothing.

    COPY and MOVE write there. Raises RefusedPath for a field that is no URI, or more than one:
    WSGI joins two with a comma.
    """
    if destination is None or method.upper() in _ONE_TARGET:
        return None
    match = _DESTINATION.fullmatch(destination.strip(" \t"))
    if match is None or not match[0] or _SECOND_VALUE.search(destination):
        raise RefusedPath(PathReason.DESTINATION)
    return Target(normal_host(match[1] or ""), match[2] or "/")
