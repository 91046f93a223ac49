"""Both ends of the wire: a client that sends exact bytes, a backend that records exact bytes."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 5.0

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_PIECE = 1_000_000


class EndOfStreamError(Exception):
    """The other side closed the connection."""


class Stream:
    """One TCP connection with all that came over it, and what of it was not asked for yet."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        self.buffer = bytearray()
        self.received = bytearray()

    def send(self, *data: bytes) -> None:
        # In pieces, since the socket's timeout is one for all that is sent at once.
        whole = memoryview(b"".join(data))
        for start in range(0, len(whole), _PIECE):
            self.sock.sendall(whole[start : start + _PIECE])

    def _more(self) -> None:
        try:
            data = self.sock.recv(262_144)
        except ConnectionError:
            data = b""
        if not data:
            raise EndOfStreamError
        self.buffer += data
        self.received += data

    def _take(self, size: int) -> bytes:
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            self._more()
        return self._take(size)

    def read_until(self, end: bytes) -> bytes:
        while (found := self.buffer.find(end)) < 0:
            self._more()
        return self._take(found + len(end))

    def read_chunks(self) -> tuple[bytes, bytes]:
        """Read a chunked body: as it stood on the wire, and what it means."""
        raw: list[bytes] = []
        meaning: list[bytes] = []
        while True:
            raw.append(line := self.read_until(b"\r\n"))
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while raw[-1] != b"\r\n":
                    raw.append(self.read_until(b"\r\n"))
                return b"".join(raw), b"".join(meaning)
            raw.append(data := self.read(size + 2))
            meaning.append(data[:-2])

    def seconds_until_closed(self, limit: float = 2.0) -> float:
        """Wait for the other side to close; ``limit`` if it does not."""
        started = time.monotonic()
        self.sock.settimeout(limit)
        try:
            while self.sock.recv(65536):
                pass
        except TimeoutError:
            return limit
        except ConnectionError:
            pass
        return time.monotonic() - started

    def is_closed(self) -> bool:
        return self.sock.fileno() == -1

    def reset(self) -> None:
        """Close with a reset instead of an orderly end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        # A shutdown ends it for a thread that still reads from it, too.
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


def header_fields(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return [(line.split(": ", 1)[0], line.split(": ", 1)[1]) for line in lines if line]


@dataclass
class Answer:
    """What a client got. ``complete`` is false where the body broke off."""

    head: bytes
    body: bytes
    complete: bool

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def reason(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0].split(b" ", 2)[2]

    @property
    def fields(self) -> list[tuple[str, str]]:
        return header_fields(self.head)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]


class Client(Stream):
    """A client that sends exact bytes and reads answers by the letter."""

    def read_answer(self, *, head_only: bool = False) -> Answer:
        head = self.read_until(b"\r\n\r\n")
        lowered = head.lower()
        status = int(head.split(b" ", 2)[1])
        if head_only or status in {204, 304} or status < 200:
            return Answer(head, b"", complete=True)
        try:
            if b"transfer-encoding: chunked" in lowered:
                return Answer(head, self.read_chunks()[1], complete=True)
            if match := re.search(rb"content-length: (\d+)", lowered):
                return Answer(head, self.read(int(match[1])), complete=True)
        except EndOfStreamError:
            return Answer(head, self._take(len(self.buffer)), complete=False)
        with contextlib.suppress(EndOfStreamError):
            while True:
                self._more()
        return Answer(head, self._take(len(self.buffer)), complete=True)


@dataclass
class Request:
    """What a backend got: one whole request, byte for byte."""

    head: bytes
    body: bytes = b""
    meaning: bytes = b""

    @property
    def line(self) -> bytes:
        return self.head.split(b"\r\n", 1)[0]

    @property
    def target(self) -> bytes:
        return self.line.split(b" ")[1]

    @property
    def fields(self) -> list[tuple[str, str]]:
        return header_fields(self.head)

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def names(self) -> set[str]:
        return {name for name, _ in self.fields}


class Peer(Stream):
    """The backend's end of one connection."""

    def read_head(self) -> Request:
        return Request(self.read_until(b"\r\n\r\n"))

    def read_request(self) -> Request:
        request = self.read_head()
        if request.values("Transfer-Encoding"):
            request.body, request.meaning = self.read_chunks()
        elif lengths := request.values("Content-Length"):
            request.body = request.meaning = self.read(int(lengths[0]))
        return request


Script = Callable[[Peer], object]


@dataclass
class Backend:
    """A server that does on each connection what the test's script says."""

    unix_path: Path | None = None
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    script: Script | None = None

    def __post_init__(self) -> None:
        if self.unix_path is None:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
            self.port: int = self.listener.getsockname()[1]
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(self.unix_path))
            self.listener.listen()
        self._threads: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        if self.unix_path is not None:
            return f"unix:{self.unix_path}"
        return f"http{'s' if self.tls else ''}://localhost:{self.port}"

    def answers(self, *answers: bytes) -> None:
        """Answer the requests to come with these bytes in turn, the last one again and again."""
        left = list(answers)

        def script(peer: Peer) -> None:
            while True:
                self.requests.append(peer.read_request())
                peer.send(left.pop(0) if len(left) > 1 else left[0])

        self.script = script

    def breaks_off_after(self, part: bytes) -> None:
        """Answer with a part only, and close."""

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(part)

        self.script = script

    def stays_silent_after(self, part: bytes) -> None:
        """Answer with a part only, and wait until the gateway closes."""

        def script(peer: Peer) -> None:
            peer.read_request()
            peer.send(part)
            peer.seconds_until_closed()

        self.script = script

    def forget(self) -> None:
        """End all connections and what is known of them."""
        self.script = None
        for peer in self.peers:
            peer.close()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._threads.clear()
        self.peers.clear()
        self.requests.clear()

    def close(self) -> None:
        self.forget()
        # Closing alone would not end it for the thread that waits in accept().
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def wait_for(self, condition: Callable[[], bool], limit: float = 2.0) -> bool:
        until = time.monotonic() + limit
        while not condition() and time.monotonic() < until:
            time.sleep(0.005)
        return condition()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, sock: socket.socket) -> None:
        if self.tls is not None:
            try:
                sock = self.tls.wrap_socket(sock, server_side=True)
            except OSError:
                sock.close()
                return
        else:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(sock)
        self.peers.append(peer)
        script = self.script
        with contextlib.suppress(EndOfStreamError, OSError, ValueError):
            if script is not None:
                script(peer)
        peer.close()
