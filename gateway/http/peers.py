"""Who is at the other end of a connection, and whose word about the client counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal
from wsgiref.types import WSGIEnvironment

Network = IPv4Network | IPv6Network

#: In ``server.trusted_proxies``: every peer on the gateway's own unix socket.
UNIX: Final = "unix"
TrustedPeer = Network | Literal["unix"]

#: So many peers are remembered. Clients choose their addresses, so the oldest ones go.
_REMEMBERED_PEERS = 4096


class TrustedProxies:
    """The proxies of ``server.trusted_proxies``, whose word about the client counts.

    ``trusts(peer)`` tells whether an address is one of them. A peer on a unix socket has no
    address; it is one of them if they name ``unix``.
    """

    def __init__(self, peers: Iterable[TrustedPeer]) -> None:
        self._peers = frozenset(peers)
        self._networks = tuple(peer for peer in self._peers if peer != UNIX)
        self.trusts: Callable[[str], bool] = lru_cache(maxsize=_REMEMBERED_PEERS)(self._find)

    def client_of(self, environ: WSGIEnvironment) -> str:
        """Return the address of the client that sent the request of ``environ``."""
        peer: str = environ.get("REMOTE_ADDR", "")
        forwarded_for: str = environ.get("HTTP_X_FORWARDED_FOR", "")
        return self.client_address(peer, forwarded_for) if forwarded_for else peer

    def client_address(self, peer: str, forwarded_for: str) -> str:
        """Return the address of the client behind the proxies.

        ``peer`` is the other end of the connection, ``forwarded_for`` the X-Forwarded-For header
        or an empty string. The header is read from the right. Each address in it counts if its
        writer is trusted, so nothing in it counts from an untrusted peer.
        """
        address = peer
        hops = forwarded_for.split(",") if forwarded_for else []
        while hops and self.trusts(address):
            try:
                address = str(ip_address(hops.pop().strip()))
            except ValueError:
                # A trusted proxy wrote this, but it is no address.
                break
        return address

    def _find(self, peer: str) -> bool:
        if not peer:
            return UNIX in self._peers
        address = _address(peer)
        return address is not None and any(address in network for network in self._networks)


def network_of(address: str) -> str:
    """Return the network under which attempts from ``address`` are counted.

    An IPv6 address counts as its /64: one subscriber has all of them (RFC 6177 §2).
    """
    parsed = _address(address)
    if not isinstance(parsed, IPv6Address):
        return address
    return str(IPv6Network((parsed, 64), strict=False))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address. An IPv4 address inside an IPv6 one counts as IPv4 (RFC 4291 §2.5.5.2)."""
    try:
        parsed = ip_address(text)
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
