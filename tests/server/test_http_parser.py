"""The HTTP parser in front of the gateway refuses every malformed request."""

from __future__ import annotations

import socket
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from gateway.config.file import load_config
from gateway.server.standalone import StandaloneGateway
from tests.support.processes import free_port
from tests.support.running_gateway import write_settings
from tests.support.serving import PATIENCE_SECONDS


def test_no_leniency_of_the_http_parser_is_on(tmp_path: Path) -> None:
    """What gunicorn is told differs from its defaults only where that makes it stricter."""
    config = write_settings(tmp_path, port=free_port())
    chosen = StandaloneGateway(lambda: load_config(config)).cfg
    default = Config()
    lenient = [
        name
        for name in default.settings
        if name.startswith(("permit_", "strip_", "casefold_", "tolerate_"))
    ]
    assert len(lenient) >= 5
    for name in lenient:
        assert chosen.settings[name].get() is False, name
    assert chosen.header_map == "drop"
    assert chosen.http_parser == "python"
    assert chosen.proxy_protocol == "off"
    assert not chosen.forwarded_allow_ips
    assert not chosen.secure_scheme_headers
    assert not chosen.forwarder_headers
    assert "h2" not in chosen.http_protocols


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nName : y\r\n\r\n", id="space"),
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", id="folding"),
        pytest.param(b"GET /public/x HTTP/1.1\nHost: x\n\n", id="bare line feeds"),
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", id="bare return"),
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", id="NUL"),
        pytest.param(b"GET /public/x HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", id="two hosts"),
        pytest.param(b"GET /public/x HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"get /public/x HTTP/1.1\r\nHost: x\r\n\r\n", id="small letters"),
        pytest.param(b"GET /public/x HTTP/3.7\r\nHost: x\r\n\r\n", id="version"),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="two framings",
        ),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
            b"Content-Length: 5\r\n\r\nabcde",
            id="two lengths",
        ),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd", id="sign"
        ),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0x1\r\na\r\n0\r\n\r\n",
            id="chunk size",
        ),
        pytest.param(
            b"POST /public/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            id="no chunks",
        ),
    ],
)
def test_a_malformed_request_is_refused_and_its_connection_closed(
    standalone: Any, request_bytes: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", standalone.port), PATIENCE_SECONDS) as client:
        # What follows must not be taken for a second request.
        client.sendall(request_bytes + b"GET /public/y HTTP/1.1\r\nHost: x\r\n\r\n")
        response = HTTPResponse(client)
        response.begin()
        assert response.status in {400, 501}
        response.read()
        try:
            rest = client.recv(65_536)
        except ConnectionError:
            rest = b""
        assert rest == b""
