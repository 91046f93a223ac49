"""Whose word counts: the peer's address, and what trusted proxies say of the client's."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import Final, Literal

Network = IPv4Network | IPv6Network

#: In ``server.trusted_proxies``: whoever connects to the gateway's own unix socket.
UNIX: Final = "unix"
TrustedPeer = Network | Literal["unix"]


def is_trusted(address: str, trusted: Sequence[TrustedPeer]) -> bool:
    """Tell whether ``address`` is in one of the networks of ``server.trusted_proxies``.

    A peer on a unix socket has no address, and is trusted where they name ``unix``.
    """
    if not trusted:
        return False
    if not address:
        return UNIX in trusted
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    candidate = mapped or parsed
    return any(candidate in network for network in trusted if network != UNIX)


def network_of(address: str) -> str:
    """Return what attempts from ``address`` are counted under.

    An IPv6 address counts as its /64: one subscriber has all of them (RFC 6177 §2).
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address) or parsed.ipv4_mapped:
        return address
    return str(IPv6Network((parsed, 64), strict=False))


def client_address(peer: str, forwarded_for: str, trusted: Sequence[TrustedPeer]) -> str:
    """Return the address of the client behind the trusted proxies.

    ``peer`` is the other end of the connection, ``forwarded_for`` the X-Forwarded-For header
    or an empty string. It is read from the right, as far as who wrote it is trusted; from an
    untrusted peer it is not read at all.
    """
    address = peer
    hops = [hop.strip() for hop in forwarded_for.split(",")] if forwarded_for else []
    while hops and is_trusted(address, trusted):
        hop = hops.pop()
        try:
            address = str(ip_address(hop))
        except ValueError:
            # Whoever wrote this is trusted to have written it, but it is no address.
            break
    return address
