"""The nodes of Forwarded and X-Forwarded-For: which addresses the proxies name (RFC 7239)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address

from gateway.http.header_policy import TOKEN

_TOKEN = TOKEN.pattern
_QUOTED = r'"(?:[^"\\]|\\.)*"'
#: RFC 7239 §4. Proxies write a node without the quotes that ``:`` and ``[`` need, so a value
#: may have these characters, too.
_PAIR = rf"{_TOKEN}=(?:{_QUOTED}|[^\s\",;=]+)?"
_ELEMENT = re.compile(rf"[ \t]*{_PAIR}(?:[ \t]*;[ \t]*{_PAIR})*[ \t]*", re.ASCII)
_ONE_PAIR = re.compile(rf"({_TOKEN})=({_QUOTED}|[^\s\",;=]+)?", re.ASCII)
_ESCAPED = re.compile(r"\\(.)")

#: RFC 7239 §6: an address, and a port or an obfuscated one behind it.
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._\-]+))?")


def node_address(node: str) -> str | None:
    """Return the address of a node, ``None`` if it names no address (RFC 7239 §6).

    The address is without port, brackets and zone. A mapped address is the IPv4 address that it
    stands for (RFC 4291 §2.5.5.2).
    """
    text = unquoted(node.strip(" \t"))
    match = _NODE.fullmatch(text)
    try:
        address = ip_address((match.group(1) or match.group(2)) if match else text)
    except ValueError:
        return None
    if not isinstance(address, IPv6Address):
        return str(address)
    # Without the zone, which means nothing on another machine (RFC 4007 §6).
    return str(address.ipv4_mapped or IPv6Address(int(address)))


def unquoted(value: str) -> str:
    """Return a value without its quotes, if it has them (RFC 9110 §5.6.4)."""
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):  # noqa: PLR2004
        return value
    return _ESCAPED.sub(r"\1", value[1:-1])


def for_nodes(forwarded: str) -> Iterator[str]:
    """Yield the ``for`` node of each element of Forwarded, from the right.

    An element without one yields ``unknown``.
    """
    for element in elements(forwarded):
        yield element.get("for", "unknown")


def elements(forwarded: str) -> Iterator[dict[str, str]]:
    """Yield the parameters of each element of Forwarded, from the right (RFC 7239 §4).

    The last proxy wrote the right end, and a client may have written the left one. So the
    shortest right end that is an element counts: a quotation mark that the client left open
    hides no element of a proxy. The reading ends where no element is well-formed.
    """
    end = len(forwarded)
    while end >= 0:
        comma = end
        while (comma := forwarded.rfind(",", 0, comma)) >= -1:
            if _ELEMENT.fullmatch(forwarded, comma + 1, end):
                break
            if comma == -1:
                return
        yield _parameters(forwarded[comma + 1 : end])
        end = comma


def _parameters(element: str) -> dict[str, str]:
    pairs = _ONE_PAIR.findall(element)
    return {name.lower(): unquoted(value) for name, value in pairs}
