"""The fields that tell the backend where a request came from, and through which proxies.

X-Forwarded-For, -Host and -Proto, Forwarded (RFC 7239) and Via (RFC 9110 §7.6.3). All functions
here are pure, over strings.
"""

from __future__ import annotations

from functools import lru_cache
from wsgiref.types import WSGIEnvironment

from gateway.http.forwarded import elements, node_address
from gateway.http.header_policy import TOKEN, fold, is_field_value
from gateway.http.peers import peer_address
from gateway.http.proxy_errors import bad_request
from gateway.http.request_target import is_host


def forwarded_node(peer: str) -> str:
    """Return an address as RFC 7239 §6 writes it, ``unknown`` if it is no address."""
    address = node_address(peer)
    if address is None:
        return "unknown"
    return f'"[{address}]"' if ":" in address else address


@lru_cache(maxsize=4096)
def new_forwarded_lines(peer: str, scheme: str, host: str, omitted: frozenset[str]) -> str:
    """Return the header lines about a request that comes from no trusted proxy.

    ``omitted`` are the folded names that somebody else writes. Without a peer address or a Host,
    the lines that would name them are left out.
    """
    fields = {
        "X-Forwarded-For": peer_address(peer),
        "X-Forwarded-Host": host,
        "X-Forwarded-Proto": scheme,
        "Forwarded": _element(forwarded_node(peer), host, scheme),
    }
    return _lines(fields, omitted)


def extended_forwarded_lines(
    environ: WSGIEnvironment, peer: str, scheme: str, host: str, omitted: frozenset[str]
) -> str:
    """Return the same lines about a request of a trusted proxy, whose own words come first.

    If the proxy sent no Forwarded field, the gateway makes one of the proxy's other fields
    (RFC 7239 §7.4), and the other way round, so that both say the same. X-Forwarded-For names
    addresses without ports. Raises a 400 :class:`ProxyError` for control characters.
    """
    chain = _addresses(environ.get("HTTP_X_FORWARDED_FOR", ""))
    told_host = environ.get("HTTP_X_FORWARDED_HOST", "")
    told_scheme = environ.get("HTTP_X_FORWARDED_PROTO", "")
    forwarded = environ.get("HTTP_FORWARDED", "")
    if forwarded and not chain:
        chain, first = _chain_of(forwarded)
        told_host = told_host or first.get("host", "")
        told_scheme = told_scheme or first.get("proto", "")
    elif chain and not forwarded:
        forwarded = _elements_of(chain, told_host, told_scheme)
    here = _element(forwarded_node(peer), host, scheme)
    fields = {
        "X-Forwarded-For": _join(chain, peer_address(peer)),
        "X-Forwarded-Host": told_host or host,
        "X-Forwarded-Proto": told_scheme or scheme,
        "Forwarded": _join(forwarded, here),
    }
    if not all(map(is_field_value, fields.values())):
        raise bad_request("A header field holds control characters.")
    return _lines(fields, omitted)


def _addresses(chain: str) -> str:
    """Return X-Forwarded-For without ports and brackets. What is no address stays."""
    if not chain:
        return ""
    return ", ".join(node_address(node) or node.strip(" \t") for node in chain.split(","))


def _chain_of(forwarded: str) -> tuple[str, dict[str, str]]:
    """Return the addresses of Forwarded for X-Forwarded-For, and what its first element says."""
    nodes: list[str] = []
    element: dict[str, str] = {}
    for element in elements(forwarded):
        nodes.insert(0, node_address(element.get("for", "")) or "unknown")
    return ", ".join(nodes), element


def _elements_of(chain: str, host: str, scheme: str) -> str:
    """Return X-Forwarded-For as elements of Forwarded; the first one has the host and scheme."""
    first, *others = map(forwarded_node, chain.split(","))
    host = host if is_host(host) else ""
    scheme = scheme if TOKEN.fullmatch(scheme) else ""
    return ", ".join([_element(first, host, scheme), *(f"for={node}" for node in others)])


def _element(node: str, host: str, scheme: str) -> str:
    """Return one forwarded-element (RFC 7239 §4)."""
    element = f"for={node}"
    if host:
        element += f';host="{host}"'
    if scheme:
        element += f";proto={scheme}"
    return element


def _join(before: str, last: str) -> str:
    return ", ".join(filter(None, [before, last]))


def _lines(fields: dict[str, str], omitted: frozenset[str]) -> str:
    return "".join(
        f"{name}: {value}\r\n"
        for name, value in fields.items()
        if value and fold(name) not in omitted
    )


def via(received: str, version: str, name: str) -> str:
    """Return the value of Via with this gateway behind the proxies before it (RFC 9110 §7.6.3).

    ``received`` is the message's own Via, '' if it has none. ``version`` is that of the message.
    """
    return f"{received}, {version} {name}" if received else f"{version} {name}"


def went_through(received: str, name: str) -> bool:
    """Tell whether a Via field says that the message went through ``name`` before."""
    return any(name in hop.split()[1:2] for hop in received.split(","))
