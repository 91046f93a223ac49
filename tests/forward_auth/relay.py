"""A TCP relay between a proxy and the gateway, which records what the proxy asks."""

from __future__ import annotations

import contextlib
import socket
import threading

_PIECE = 65_536


class Relay:
    """Listens on ``port`` and relays to ``target``, a port of 127.0.0.1, or nowhere with 0."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._asked = bytearray()
        self._open: set[socket.socket] = set()
        self._changing = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Where proxies are to look for the gateway."""
        return int(self._listener.getsockname()[1])

    def asked(self) -> bytes:
        """Return every byte that came from the proxy since this was last called."""
        with self._changing:
            asked = bytes(self._asked)
            self._asked.clear()
        return asked

    def point_at(self, target: int) -> None:
        """Relay to another port from now on; what was kept alive is closed."""
        with self._changing:
            self._target = target
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and close every connection."""
        self.point_at(0)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                proxy, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(proxy,), daemon=True).start()

    def _relay(self, proxy: socket.socket) -> None:
        with proxy, contextlib.suppress(OSError):
            gateway = socket.create_connection(("127.0.0.1", self._target), 5)
            gateway.settimeout(None)
            for each in (proxy, gateway):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with gateway:
                with self._changing:
                    self._open |= {proxy, gateway}
                back = threading.Thread(target=self._pump, args=(gateway, proxy), daemon=True)
                back.start()
                self._pump(proxy, gateway, record=True)
                back.join(5)
                with self._changing:
                    self._open -= {proxy, gateway}

    def _pump(self, source: socket.socket, sink: socket.socket, *, record: bool = False) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                if record:
                    with self._changing:
                        self._asked += piece
                sink.sendall(piece)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
