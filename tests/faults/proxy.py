"""A TCP proxy between a gateway and its store, with every fault that a network has.

Faults are switched on and off while connections live: they hold for the connections that
are open and for those to come. Nothing here understands Redis; :meth:`Proxy.drop_replies`
and the others like it are told by which bytes to know a request.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_LINGER_NOT = struct.pack("ii", 1, 0)
_CHUNK = 65_536
_HELD_SECONDS = 20.0


@dataclass
class Faults:
    """The faults at the moment; none by default."""

    #: Seconds that every reply is late.
    latency: float = 0.0
    #: Seconds between one byte of a reply and the next.
    seconds_a_byte: float = 0.0
    #: Nothing arrives any more, in either direction, and nobody is told: half-open.
    silent: bool = False
    #: Every connection is reset as soon as something is sent.
    reset: bool = False
    #: Bytes of replies after which a connection is closed.
    cut_after: int | None = None


@dataclass(eq=False)
class _Connection:
    client: socket.socket
    server: socket.socket
    replied: int = 0
    #: The reply to what was sent is swallowed, and the connection closed.
    doomed: bool = False
    closed: threading.Event = field(default_factory=threading.Event)

    def close(self, *, reset: bool = False) -> None:
        self.closed.set()
        for each in (self.client, self.server):
            with suppress(OSError):
                if reset:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                else:
                    # Wakes the thread that reads from it.
                    each.shutdown(socket.SHUT_RDWR)
            each.close()


class Proxy:
    """Listens on a port of 127.0.0.1 and connects to another one."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.faults = Faults()
        #: The number of requests and replies that a fault met.
        self.injected = 0
        #: The number of replies that were passed on, if each comes in one piece.
        self.replies = 0
        self._drop_left = 0
        self._drop_matching: tuple[bytes, ...] = ()
        self._lose_left = 0
        self._lose_matching: tuple[bytes, ...] = ()
        self._held: tuple[bytes, ...] = ()
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])
        self._fillers: list[socket.socket] = []

    @property
    def open_connections(self) -> int:
        """The number of connections that the gateway has open."""
        return len(self._connections)

    def heal(self) -> None:
        """Let everything through again."""
        self.faults = Faults()
        self._drop_left = self._lose_left = 0
        self._held = ()
        self._released.set()
        self.accept()

    def drop_replies(self, *matching: bytes, times: int = 1) -> None:
        """Let the next requests with one of ``matching`` be executed, and lose the replies."""
        self._drop_matching = matching
        self._drop_left = times

    def lose_requests(self, *matching: bytes, times: int = 1) -> None:
        """Reset the connection of the next requests with one of ``matching``, unexecuted."""
        self._lose_matching = matching
        self._lose_left = times

    def hold_requests(self, *matching: bytes) -> None:
        """Hold back requests with one of ``matching``, and all after them, until :meth:`heal`."""
        self._released.clear()
        self._held = matching

    def cut(self) -> None:
        """Reset every open connection once."""
        for each in list(self._connections):
            self.injected += 1
            each.close(reset=True)

    def refuse(self) -> None:
        """Refuse new connections, and end the old ones."""
        _close_listener(self._listener)
        self.cut()

    def black_hole(self) -> None:
        """Answer no attempt to connect, as where a host is gone; close the open connections."""
        self.refuse()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        # Nothing accepts: once the queue is full, the kernel drops every attempt.
        self._listener.listen(0)
        for _ in range(2):
            filler = socket.socket()
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(("127.0.0.1", self.port))
            self._fillers.append(filler)

    def accept(self) -> None:
        """Take new connections again."""
        if self._listener.fileno() >= 0 and not self._fillers:
            return
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        _close_listener(self._listener)
        self._listener = self._listen(self.port)

    def close(self) -> None:
        """Close every connection, and stop listening."""
        for filler in self._fillers:
            filler.close()
        _close_listener(self._listener)
        for each in list(self._connections):
            each.close()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        return listener

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.upstream_port), 5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(client, server)
            with self._lock:
                self._connections.add(connection)
            for pump in (self._requests, self._replies):
                threading.Thread(target=pump, args=(connection,), daemon=True).start()

    def _requests(self, connection: _Connection) -> None:
        while data := _received(connection.client):
            if self.faults.reset:
                self.injected += 1
                connection.close(reset=True)
                break
            if self.faults.silent:
                self.injected += 1
                continue
            with self._lock:
                lost = self._lose_left > 0 and _has_one_of(data, self._lose_matching)
                self._lose_left -= lost
                if self._drop_left > 0 and _has_one_of(data, self._drop_matching):
                    self._drop_left -= 1
                    connection.doomed = True
            if lost:
                self.injected += 1
                connection.close(reset=True)
                break
            held = _has_one_of(data, self._held)
            if held:
                self.injected += 1
                self._released.wait(_HELD_SECONDS)
            with suppress(OSError):
                connection.server.sendall(data)
            if held and _is_reset(connection.client):
                # Nor would TCP deliver the requests after it.
                break
        self._over(connection)

    def _replies(self, connection: _Connection) -> None:
        while data := _received(connection.server):
            if connection.doomed:
                self.injected += 1
                break
            if self.faults.silent:
                continue
            if self.faults.latency:
                self.injected += 1
                connection.closed.wait(self.faults.latency)
            if self.faults.cut_after is not None:
                room = self.faults.cut_after - connection.replied
                if room < len(data):
                    self.injected += 1
                    with suppress(OSError):
                        connection.client.sendall(data[: max(0, room)])
                    break
            connection.replied += len(data)
            self.replies += 1
            with suppress(OSError):
                for piece in self._pieces(connection, data):
                    connection.client.sendall(piece)
        self._over(connection)

    def _pieces(self, connection: _Connection, data: bytes) -> Iterator[bytes]:
        position = 0
        while position < len(data):
            pause = self.faults.seconds_a_byte
            if not pause:
                yield data[position:]
                return
            self.injected += 1
            if connection.closed.wait(pause):
                return
            yield data[position : position + 1]
            position += 1

    def _over(self, connection: _Connection) -> None:
        connection.close()
        with self._lock:
            self._connections.discard(connection)


def _has_one_of(data: bytes, matching: tuple[bytes, ...]) -> bool:
    return any(each in data for each in matching)


def _is_reset(client: socket.socket) -> bool:
    try:
        return client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
    except OSError:
        return True


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(_CHUNK)
    except (OSError, ValueError):
        return b""


def _close_listener(listener: socket.socket) -> None:
    with suppress(OSError):
        # Wakes the thread that accepts.
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@contextmanager
def proxied(upstream_port: int) -> Iterator[Proxy]:
    """Run a proxy in front of a port until the block ends."""
    proxy = Proxy(upstream_port)
    try:
        yield proxy
    finally:
        proxy.close()
