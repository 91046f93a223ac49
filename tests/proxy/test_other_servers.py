"""The proxy asks nothing of a server but WSGI: here the standard library's, which checks it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from gateway.config.settings import Server, Upstream
from gateway.proxy.reverse_proxy import Proxy

from .conftest import Gateway
from .wire import Backend

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@pytest.fixture
def server(backend: Backend) -> Iterator[Gateway]:
    """Give a server in this process, with threads and without monkey-patching."""
    proxy = Proxy(Upstream(urls=(backend.url,)), Server(), "gateway.example")
    httpd = make_server("127.0.0.1", 0, validator(proxy), handler_class=QuietHandler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
    thread.start()
    gateway = Gateway({"plain": httpd.server_port})
    yield gateway
    gateway.hang_up()
    httpd.shutdown()
    thread.join()
    httpd.server_close()
    proxy.close()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(PLAIN + b"Content-Length: 5\r\n\r\nhello", id="length"),
        pytest.param(
            PLAIN + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            id="chunked",
        ),
    ],
)
def test_a_request_and_its_body_pass(server: Gateway, backend: Backend, answer: bytes) -> None:
    backend.answers(answer)

    got = server.exchange(
        b"POST /a?b=%2F HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nabc"
    )

    assert (got.status, got.body) == (200, b"hello")
    request = backend.requests[0]
    assert request.line == b"POST /a?b=%2F HTTP/1.1"
    assert request.body == b"abc"
    assert request.values("Content-Type") == ["a/b"]
    assert request.values("X-Forwarded-For") == ["127.0.0.1"]


@pytest.mark.parametrize("target", [b"/a%20b", b"/%C3%A9", b"/a%3Fb", b"/%252e"])
def test_a_path_whose_escaping_this_server_loses_is_refused(
    server: Gateway, backend: Backend, target: bytes
) -> None:
    got = server.exchange(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")

    assert got.status == 400
    assert backend.requests == []


def test_a_chunked_body_that_this_server_cannot_end_needs_a_length(
    server: Gateway, backend: Backend
) -> None:
    got = server.exchange(
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    )

    assert got.status == 411
    assert backend.requests == []


def test_a_server_that_refuses_a_head_leaves_no_connection_behind(backend: Backend) -> None:
    proxy = Proxy(Upstream(urls=(backend.url,)), Server(), "gateway.example")

    def start_response(*_: object) -> Callable[[bytes], object]:
        raise AssertionError("a header that this server does not like")

    environ: dict[str, object] = {}
    setup_testing_defaults(environ)
    with pytest.raises(AssertionError, match="does not like"):
        proxy(environ, start_response)

    assert [one.in_use for one in proxy._pool.backends] == [0]
    proxy.close()


def test_errors_are_answers(server: Gateway, backend: Backend) -> None:
    backend.answers(b"rubbish")

    assert server.get().status == 502
