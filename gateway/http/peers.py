"""Who is at the other end of a connection, and whose word about the client counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal
from wsgiref.types import WSGIEnvironment

from gateway.http.forwarded import for_nodes, node_address

Network = IPv4Network | IPv6Network

#: In ``server.trusted_proxies``: every peer on the gateway's own unix socket.
UNIX: Final = "unix"
TrustedPeer = Network | Literal["unix"]

#: So many peers are remembered. Clients choose their addresses, so the oldest ones go.
_REMEMBERED_PEERS = 4096

#: RFC 4291 §2.5.5.2: the IPv6 addresses that stand for IPv4 addresses.
_MAPPED = IPv6Network("::ffff:0:0/96")


class TrustedProxies:
    """The proxies of ``server.trusted_proxies``, whose word about the client counts.

    ``trusts(peer)`` tells whether an address is one of them. A peer on a unix socket has no
    address; it is one of them if they name ``unix``.
    """

    def __init__(self, peers: Iterable[TrustedPeer]) -> None:
        self._peers = frozenset(peers)
        self._networks = tuple(_unmapped(peer) for peer in self._peers if peer != UNIX)
        self.trusts: Callable[[str], bool] = lru_cache(maxsize=_REMEMBERED_PEERS)(self._find)

    def client_of(self, environ: WSGIEnvironment) -> str:
        """Return the address of the client that sent the request of ``environ``.

        A trusted proxy names it in X-Forwarded-For. Without that field, Forwarded counts (RFC
        7239 §5.2).
        """
        peer: str = environ.get("REMOTE_ADDR", "")
        if forwarded_for := environ.get("HTTP_X_FORWARDED_FOR"):
            return self.client_address(peer, forwarded_for)
        if forwarded := environ.get("HTTP_FORWARDED"):
            return self._follow(peer, for_nodes(forwarded))
        return peer_address(peer)

    def client_address(self, peer: str, forwarded_for: str) -> str:
        """Return the address of the client behind the proxies.

        ``peer`` is the other end of the connection, ``forwarded_for`` the X-Forwarded-For header
        or an empty string. The header is read from the right. Each address in it counts if its
        writer is trusted, so nothing in it counts from an untrusted peer.
        """
        return self._follow(peer, reversed(forwarded_for.split(",")))

    def _follow(self, peer: str, nodes: Iterator[str]) -> str:
        """Return the first address that no trusted proxy has; ``nodes`` start at the right."""
        address = peer_address(peer)
        while self.trusts(address) and (node := next(nodes, None)) is not None:
            named = node_address(node)
            if named is None:
                # A trusted proxy wrote this, but it is no address.
                break
            address = named
        return address

    def _find(self, peer: str) -> bool:
        if not peer:
            return UNIX in self._peers
        named = node_address(peer)
        if named is None:
            return False
        address = ip_address(named)
        return any(address in network for network in self._networks)


def peer_address(peer: str) -> str:
    """Return the address of a peer as it is logged, counted and forwarded.

    A server that listens on IPv6 sees an IPv4 peer as a mapped address (RFC 4291 §2.5.5.2).
    """
    return (node_address(peer) or peer) if ":" in peer else peer


def network_of(address: str) -> str:
    """Return the network under which attempts from ``address`` are counted.

    An IPv6 address counts as its /64: one subscriber has all of them (RFC 6177 §2).
    """
    parsed = _address(peer_address(address))
    if not isinstance(parsed, IPv6Address):
        return peer_address(address)
    return str(IPv6Network((parsed, 64), strict=False))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _unmapped(network: Network) -> Network:
    """Return the IPv4 network that a network of mapped addresses stands for."""
    if not isinstance(network, IPv6Network) or not network.subnet_of(_MAPPED):
        return network
    first = network.network_address.ipv4_mapped
    assert first is not None  # noqa: S101 - subnet_of() says so
    return IPv4Network((first, network.prefixlen - _MAPPED.prefixlen))
