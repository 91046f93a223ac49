"""TCP keepalive: how a connection ends whose peer has vanished without a word."""

from __future__ import annotations

import socket

#: With these, the kernel gives a silent peer up after about two minutes.
_SECONDS = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


def notice_dead_peer(sock: socket.socket) -> None:
    """Let reads and writes fail when the peer of a TCP connection is gone.

    The connections of a listening socket inherit it. A stream that is silent for hours would hold
    its connections for ever otherwise.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SECONDS.items():
        # Not every system lets a process choose these.
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
