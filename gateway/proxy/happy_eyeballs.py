"""Connecting to a name with several addresses, of which some may not answer (RFC 8305).

An address that swallows packets costs 250 ms, not the whole time limit: then an attempt at the
next address runs beside it, and the first connection that stands is taken. No thread is needed, so
this works in the same way under gevent and with threads.
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from time import monotonic
from typing import Any, NamedTuple

#: RFC 8305 §5, Connection Attempt Delay: the time after which the next attempt begins.
ATTEMPT_SECONDS = 0.25


class SocketAddress(NamedTuple):
    """One address of a name, as :func:`socket.getaddrinfo` gives it."""

    family: int
    kind: int
    protocol: int
    sockaddr: tuple[Any, ...]


def addresses_of(host: str, port: int) -> list[SocketAddress]:
    """Return the addresses of a name, the families in turn (RFC 8305 §4). Raises OSError."""
    found = [
        SocketAddress(family, kind, protocol, sockaddr)
        for family, kind, protocol, _, sockaddr in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )
    ]
    first = [address for address in found if address.family == found[0].family]
    others = [address for address in found if address.family != found[0].family]
    pairs = zip_longest(first, others)
    return [address for pair in pairs for address in pair if address is not None]


def connect_to_any(
    addresses: Sequence[SocketAddress], seconds: float
) -> tuple[socket.socket, SocketAddress]:
    """Return a connected socket, and which of ``addresses`` it is connected to.

    Raises OSError, the last one, if no address accepts, and TimeoutError after ``seconds``.
    """
    race = _Race(addresses, monotonic() + seconds)
    try:
        return race.run()
    finally:
        race.close()


class _Race:
    """The attempts at the addresses of one name."""

    def __init__(self, addresses: Iterable[SocketAddress], deadline: float) -> None:
        self._untried = deque(addresses)
        self._deadline = deadline
        self._attempts: dict[int, tuple[socket.socket, SocketAddress]] = {}
        self._poll = select.poll()
        self._next_attempt_at = 0.0
        self._error: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")

    def run(self) -> tuple[socket.socket, SocketAddress]:
        while self._untried or self._attempts:
            now = monotonic()
            if now >= self._deadline:
                raise TimeoutError("timed out")
            if self._untried and now >= self._next_attempt_at:
                self._begin(self._untried.popleft(), now)
            else:
                until = min(self._deadline, self._next_attempt_at if self._untried else now + 3600)
                if (connected := self._wait(until - now)) is not None:
                    return connected
        raise self._error

    def _begin(self, address: SocketAddress, now: float) -> None:
        try:
            sock = socket.socket(address.family, address.kind, address.protocol)
        except OSError as error:
            self._error = error
            return
        sock.setblocking(False)
        code = sock.connect_ex(address.sockaddr)
        if code not in {0, errno.EINPROGRESS}:
            sock.close()
            self._error = OSError(code, os.strerror(code))
            return
        self._attempts[sock.fileno()] = sock, address
        self._poll.register(sock, select.POLLOUT)
        self._next_attempt_at = now + ATTEMPT_SECONDS

    def _wait(self, seconds: float) -> tuple[socket.socket, SocketAddress] | None:
        """Wait for an attempt to end, and return its socket if it is connected."""
        for descriptor, _ in self._poll.poll(seconds * 1000 + 1):
            sock, address = self._attempts.pop(descriptor)
            self._poll.unregister(descriptor)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code == 0:
                return sock, address
            sock.close()
            self._error = OSError(code, os.strerror(code))
            # RFC 8305 §5: after a failure, the next attempt need not wait.
            self._next_attempt_at = 0.0
        return None

    def close(self) -> None:
        """Give up the attempts that are under way still."""
        for sock, _ in self._attempts.values():
            sock.close()
