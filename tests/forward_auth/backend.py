"""A backend that tells what reached it, echoes WebSocket messages, and plays a Frappe site."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_PIECE = 262_144
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class RecordingBackend(ThreadingHTTPServer):
    """Remembers the target of every request; ``url`` is where it listens."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.targets: list[str] = []

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self.server_address[1])

    def saw(self, mark: str) -> bool:
        """Tell whether a target with ``mark`` in it reached the backend."""
        return any(mark in target for target in self.targets)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RecordingBackend

    def _echo(self) -> None:
        self.server.targets.append(self.path)
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._websocket()
            return
        if self.path == "/api/method/frappe.auth.get_logged_user":
            # As a Frappe site says who its cookie belongs to.
            known = "sid=site-session" in self.headers.get("Cookie", "")
            self._answer({"message": "ann@example.com" if known else "Guest"})
            return
        length, digest = 0, sha256()
        for piece in self._body():
            length += len(piece)
            digest.update(piece)
        self._answer(
            {
                "method": self.command,
                "target": self.path,
                "headers": self.headers.items(),
                "length": length,
                "sha256": digest.hexdigest(),
            }
        )

    def _answer(self, members: dict[str, Any]) -> None:
        content = json.dumps(members).encode()
        # A path may ask for a status: what the backend says is not for the proxy to change.
        status = urlsplit(self.path).path.rpartition("/status-")[2]
        self.send_response(int(status) if status.isdecimal() else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left and (piece := self.rfile.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece

    def _websocket(self) -> None:
        """Accept the handshake (RFC 6455 §4.2.2) and send each short message back."""
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = b64encode(sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            length = head[1] & 0x7F
            mask = self.rfile.read(4)
            message = bytes(
                byte ^ mask[place % 4] for place, byte in enumerate(self.rfile.read(length))
            )
            self.wfile.write(bytes([head[0], length]) + message)

    def __getattr__(self, name: str) -> Any:
        # http.server calls do_<METHOD>; every method is echoed.
        if name.startswith("do_"):
            return self._echo
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Stay silent."""
