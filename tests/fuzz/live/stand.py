"""A running gateway with a recording backend behind it, and connections that send any bytes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.campaign import Complaint
from tests.fuzz.live.judge import Told, echo_of, told_by
from tests.proxy.wire import Answer, Backend, Client, EndOfStreamError, Peer, Request
from tests.support.oauth_client import Browser
from tests.support.oauth_client import Client as OAuthClient
from tests.support.serving import Served, serving


@dataclass
class Stand:
    """The gateway's port, its backend, a token, and what was sent since the beginning.

    ``served`` is the gateway's process; None where something else is under test. ``patience`` are
    the seconds within which an answer must come.
    """

    port: int
    backend: Backend
    token: bytes
    served: Served | None = None
    patience: float = 15.0
    number: int = 0
    sent: set[Told] = field(default_factory=set)
    with_token: set[Told] = field(default_factory=set)
    _judged: int = 0
    _log_bytes: int = 0
    _pids: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pids = self.served.workers() if self.served else []

    def reached(self) -> Sequence[Request]:
        """Return what has reached the backend since the last call."""
        start, self._judged = self._judged, len(self.backend.requests)
        return self.backend.requests[start : self._judged]

    def complaint_about_process(self) -> Complaint | None:
        """Judge the worker: it must live on, and its log must have no exception."""
        if self.served is None:
            return None
        if (pids := self.served.workers()) != self._pids:
            before, self._pids = self._pids, pids
            return Complaint("a worker died", f"{before} became {pids}")
        with self.served.log.open("rb") as log:
            log.seek(self._log_bytes)
            text = log.read()
        self._log_bytes += len(text)
        return Complaint("an exception in the log", text.decode()) if b"Traceback" in text else None

    def connect(self) -> Client:
        """Open a connection to the gateway."""
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(sock)
        sock.settimeout(self.patience)
        return client


def request_of(told: Told, *, token: bytes = b"") -> bytes:
    """Return a request without a body, after which the connection ends."""
    authorization = b"Authorization: Bearer " + token + b"\r\n" if token else b""
    line = f"{told.method} {told.target} HTTP/1.1\r\n".encode("latin-1")
    return line + b"Host: h\r\n" + authorization + b"Connection: close\r\n\r\n"


def answers_to(client: Client, methods: Sequence[str]) -> Iterator[Answer]:
    """Read an answer to a request of each method, until the connection ends.

    Raises TimeoutError where neither an answer nor the end comes, ValueError for what is none.
    """
    left = list(methods)
    while left:
        try:
            answer = client.read_answer(head_only=left[0] == "HEAD")
        except EndOfStreamError:
            return
        if answer.status < 200:
            continue
        yield answer
        del left[0]
        if b"\r\nconnection: close" in answer.head.lower():
            return


def _echo(backend: Backend, peer: Peer) -> None:
    """Record each request of a connection, and answer it with what it was."""
    request = None
    while request is None or b"\r\nconnection: close" not in request.head.lower():
        try:
            request = peer.read_request()
        except (ValueError, IndexError):
            # No request at all: the judge will not know it.
            backend.requests.append(Request(bytes(peer.received)))
            return
        backend.requests.append(request)
        echo = echo_of(told_by(request))
        body = b"" if request.line.startswith(b"HEAD ") else echo
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(echo), body)


@contextmanager
def recording_backend() -> Iterator[Backend]:
    """Run the backend that records and echoes."""
    backend = Backend()
    backend.script = lambda peer: _echo(backend, peer)
    try:
        yield backend
    finally:
        with contextlib.suppress(OSError):
            backend.close()


@contextmanager
def live_stand(folder: Path) -> Iterator[Stand]:
    """Run a gateway and its backend.

    It has one worker, so that each canary follows the very connections that were before it.
    """
    with recording_backend() as backend:
        address = f"http://127.0.0.1:{backend.port}"
        with serving(folder, address) as served:
            browser = Browser(served.url)
            with browser.session:
                assert browser.sign_in().status_code == 303
                tokens = OAuthClient(served.url).redeem(browser.code()).json()
            yield Stand(served.port, backend, tokens["access_token"].encode(), served)
