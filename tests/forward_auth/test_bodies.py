"""Bodies and WebSockets go from the proxy to the backend, and never through the gateway."""

from __future__ import annotations

import os
import socket
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256

import pytest

from tests.forward_auth.backend import RecordingBackend
from tests.forward_auth.proxies import RunningProxy
from tests.forward_auth.relay import Relay

_PIECE = os.urandom(262_144)
_PIECES = 200  # 50 MiB


def _upload() -> Iterator[bytes]:
    for _ in range(_PIECES):
        yield _PIECE


def _chunked() -> Iterator[bytes]:
    for piece in _upload():
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def _head(proxy: RunningProxy, target: str, *lines: str) -> bytes:
    start = [f"POST {target} HTTP/1.1", f"Host: 127.0.0.1:{proxy.port}"]
    return "\r\n".join([*start, *lines, "", ""]).encode()


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
def test_a_large_upload_arrives_whole_and_does_not_pass_through_the_gateway(
    proxy: RunningProxy, relay: Relay, token: str, framing: str
) -> None:
    counted = framing == "Content-Length"
    value = str(_PIECES * len(_PIECE)) if counted else "chunked"
    head = _head(proxy, "/upload", f"{framing}: {value}", f"Authorization: Bearer {token}")
    relay.asked()
    echoed = proxy.send(head, _upload() if counted else _chunked()).echoed
    digest = sha256()
    for piece in _upload():
        digest.update(piece)
    assert (echoed["length"], echoed["sha256"]) == (_PIECES * len(_PIECE), digest.hexdigest())
    question = relay.asked().lower()
    assert question.count(b"/oauth/verify http/1.1") == 1
    assert len(question) < 4096
    assert b"transfer-encoding" not in question
    assert b"content-length" not in question.replace(b"content-length: 0\r\n", b"")


def test_an_upload_without_a_token_is_refused_before_its_body(
    proxy: RunningProxy, backend: RecordingBackend
) -> None:
    assert proxy.send(_head(proxy, "/refused-upload", "Content-Length: 52428800")).status == 401
    assert not backend.saw("/refused-upload")


def _handshake(proxy: RunningProxy, *lines: str, upgrade: str = "websocket") -> socket.socket:
    connection = proxy.connect()
    request = [
        *("GET /socket HTTP/1.1", f"Host: 127.0.0.1:{proxy.port}"),
        *(f"Upgrade: {upgrade}", "Sec-WebSocket-Version: 13"),
        *(f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}", *lines),
    ]
    connection.sendall("\r\n".join([*request, "", ""]).encode())
    return connection


def _read_until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end) and (byte := connection.recv(1)):
        received += byte
    return received


def _message(text: bytes) -> bytes:
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(text))
    return bytes([0x81, 0x80 | len(text)]) + mask + masked


def test_a_websocket_is_judged_at_its_handshake_and_then_carried(
    proxy: RunningProxy, token: str
) -> None:
    """RFC 6455: a text message goes there and back."""
    lines = (f"Authorization: Bearer {token}", "Connection: Upgrade")
    with _handshake(proxy, *lines) as connection:
        assert _read_until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 101")
        for text in (b"hello", b"and again"):
            connection.sendall(_message(text))
            assert connection.recv(2) == bytes([0x81, len(text)])
            assert _read_until(connection, text) == text


def test_a_websocket_without_a_token_is_refused(proxy: RunningProxy) -> None:
    with _handshake(proxy, "Connection: Upgrade") as connection:
        assert _read_until(connection, b"\r\n").startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("upgrade", ["h2c", "websocket, h2c", "TLS/1.0"])
def test_no_other_protocol_can_be_changed_to(proxy: RunningProxy, token: str, upgrade: str) -> None:
    """In h2c, the backend would read requests that nobody has judged."""
    lines = [
        f"Upgrade: {upgrade}",
        "Connection: Upgrade, HTTP2-Settings",
        "HTTP2-Settings: AAMAAABk",
    ]
    answer = proxy.ask("/upgraded", *lines, token=token)
    if answer.status == 200:
        assert answer.arrived("Upgrade") == []
        assert "upgrade" not in "".join(answer.arrived("Connection")).lower()
    else:
        assert answer.status in {400, 403}
