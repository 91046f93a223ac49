"""Every refusal of the server itself has a Date, and is JSON or a page as the client asks for."""

from __future__ import annotations

import json
import socket
from email.utils import parsedate_to_datetime
from http.client import HTTPResponse

import pytest

from tests.support.raw import RawResponse
from tests.support.running_gateway import RunningGateway
from tests.support.serving import PATIENCE_SECONDS

BROWSER = b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"

REFUSED = [
    pytest.param(b"GET / HTTP/1.1\r\nName : x\r\n", 400, id="400"),
    pytest.param(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: h\r\n", 414, id="414"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nExpect: tea\r\n", 417, id="417"),
    pytest.param(
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"b" * 20_000 + b"\r\n", 431, id="431 a field"
    ),
    pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 200, 431, id="431 many"),
    pytest.param(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: tea\r\n", 501, id="501"),
    pytest.param(b"GET / HTTP/2.0\r\nHost: h\r\n", 505, id="505 2.0"),
    pytest.param(b"GET / HTTP/3.0\r\nHost: h\r\n", 505, id="505 3.0"),
    pytest.param(b"GET / HTTP/0.9\r\nHost: h\r\n", 505, id="505 0.9"),
    pytest.param(b"PRI * HTTP/2.0\r\n", 505, id="505 preface"),
    pytest.param(b"GET / HTTP/3.7\r\nHost: h\r\n", 400, id="400 no version"),
]


def answered(gateway: RunningGateway, data: bytes, method: str = "GET") -> RawResponse:
    with socket.create_connection(("127.0.0.1", gateway.port), PATIENCE_SECONDS) as client:
        client.sendall(data)
        response = HTTPResponse(client, method=method)
        response.begin()
        return RawResponse(response.status, tuple(response.getheaders()), response.read())


@pytest.mark.parametrize(("head", "status"), REFUSED)
def test_a_refusal_is_json_with_a_date(
    standalone: RunningGateway, head: bytes, status: int
) -> None:
    response = answered(standalone, head + b"\r\n")

    assert response.status == status
    assert parsedate_to_datetime(response.values("Date")[0]).year > 2020
    assert response.values("Content-Type") == ["application/json"]
    assert response.values("Connection") == ["close"]
    assert set(json.loads(response.body)) == {"error", "error_description"}


@pytest.mark.parametrize(("head", "status"), REFUSED)
def test_a_browser_gets_a_page(standalone: RunningGateway, head: bytes, status: int) -> None:
    line, rest = head.split(b"\r\n", 1)
    response = answered(standalone, line + b"\r\n" + BROWSER + rest + b"\r\n")

    assert response.status == status
    assert response.values("Content-Type") == ["text/html; charset=utf-8"]
    assert response.body.startswith(b"<!doctype html>")
    assert len(response.values("Date")) == 1


def test_the_end_of_a_long_accept_is_ignored(standalone: RunningGateway) -> None:
    """What the parser of media types makes of 64 KB takes it a second."""
    many = b"a/b;q=0.1," * 1000
    for accept, kind in (
        (b"text/html," + many, "text/html; charset=utf-8"),
        (many + b"text/html", "application/json"),
        (b"text/html" + b"a" * 10_000, "application/json"),
    ):
        head = b"GET / HTTP/1.1\r\nAccept: " + accept + b"\r\nName : x\r\n\r\n"
        assert answered(standalone, head).values("Content-Type") == [kind]
        head = b"TRACE /public/x HTTP/1.1\r\nHost: h\r\nAccept: " + accept + b"\r\n\r\n"
        assert answered(standalone, head).values("Content-Type") == [kind]


def test_a_refusal_of_head_has_no_body(standalone: RunningGateway) -> None:
    response = answered(standalone, b"HEAD / HTTP/1.1\r\nName : x\r\n\r\n", "HEAD")

    assert (response.status, response.body) == (400, b"")


def test_nothing_of_the_request_is_quoted(standalone: RunningGateway) -> None:
    response = answered(standalone, b"GET /?code=secret HTTP/1.1\r\nsecret : secret\r\n\r\n")

    assert b"secret" not in response.body


def test_a_head_that_is_too_large_is_answered_though_the_client_still_sends(
    standalone: RunningGateway,
) -> None:
    line = b"X-A: " + b"b" * 15_000 + b"\r\n"
    response = answered(standalone, b"GET / HTTP/1.1\r\nHost: h\r\n" + line * 100 + b"\r\n")

    assert response.status == 431


@pytest.mark.parametrize(
    "connection",
    [b"close, x", b"x, close", b"X,Close", b"keep-alive, close", b"x\r\nConnection: close"],
)
def test_close_is_an_option_among_others(standalone: RunningGateway, connection: bytes) -> None:
    """RFC 9112 §9.6."""
    head = b"GET /public/x HTTP/1.1\r\nHost: h\r\nConnection: " + connection + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", standalone.port), PATIENCE_SECONDS) as client:
        client.sendall(head)
        received = b""
        while data := client.recv(65_536):
            received += data
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in received


@pytest.mark.parametrize("connection", [b"keep-alive", b"x, keep-alive", b"Keep-Alive, X-Foo"])
def test_so_is_keep_alive_in_http_1_0(standalone: RunningGateway, connection: bytes) -> None:
    head = b"GET /public/x HTTP/1.0\r\nHost: h\r\nConnection: " + connection + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", standalone.port), PATIENCE_SECONDS) as client:
        for _ in range(2):
            client.sendall(head)
            response = HTTPResponse(client)
            response.begin()
            assert response.status == 200
            response.read()


@pytest.mark.parametrize("length", [256, 262, 16_000])
def test_a_host_that_is_too_long_is_no_host(standalone: RunningGateway, length: int) -> None:
    """A name has 255 characters at most, and a port five."""
    head = b"GET /public/x HTTP/1.1\r\nHost: " + b"h" * length + b"\r\n\r\n"

    assert answered(standalone, head).status == (200 if length < 262 else 400)
