"""Whose word counts: the peer's address, and what trusted proxies say of the client's."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from gateway.config import Network


def is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    """Tell whether ``address`` is in one of the networks of ``server.trusted_proxies``."""
    if not trusted:
        return False
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    candidate = mapped or parsed
    return any(candidate in network for network in trusted)


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
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
