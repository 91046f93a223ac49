"""The backend gets the target that the client sent, byte for byte, or the request is refused."""

from __future__ import annotations

import pytest

from gateway.http.proxy_errors import ProxyError
from gateway.http.request_target import request_target

from .conftest import Gateway
from .wire import Backend


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"//admin",
        b"/a%2Fb//c%252F",
        b"/api/vhosts/%2F/x",
        b"/api/vhosts/%2f/x",
        b"/public/%2e%2e/admin",
        b"/public/../admin",
        b"/./admin",
        b"/public/..;/admin",
        b"/a%20b%00%0d%0a",
        b"/%c3%a9%E9",
        b"/?",
        b"/?x=/public&y=%23%3f?&&==",
        b'/search?q=a+b|c"<>{}[]^`\\',
        b"/" + b"long" * 900,
    ],
)
def test_a_target_arrives_byte_for_byte(gateway: Gateway, backend: Backend, target: bytes) -> None:
    answer = gateway.exchange(b"GET " + target + b" HTTP/1.1\r\nHost: shop.example\r\n\r\n")

    assert answer.status == 200
    assert [request.line for request in backend.requests] == [b"GET " + target + b" HTTP/1.1"]


def test_an_absolute_target_is_reduced_to_its_path(gateway: Gateway, backend: Backend) -> None:
    gateway.exchange(
        b"GET http://shop.example:81/a%2Fb?c HTTP/1.1\r\nHost: shop.example:81\r\n\r\n"
    )

    assert backend.requests[0].line == b"GET /a%2Fb?c HTTP/1.1"
    assert backend.requests[0].values("Host") == ["shop.example:81"]


def test_an_absolute_target_without_a_path_asks_for_the_root(
    gateway: Gateway, backend: Backend
) -> None:
    gateway.exchange(b"GET http://shop.example?c HTTP/1.1\r\nHost: shop.example\r\n\r\n")

    assert backend.requests[0].line == b"GET /?c HTTP/1.1"


@pytest.mark.parametrize(
    "request_line",
    [
        pytest.param(b"GET http://other.example/ HTTP/1.1", id="absolute target of another host"),
        pytest.param(b"OPTIONS * HTTP/1.1", id="asterisk"),
        pytest.param(b"GET /a#b HTTP/1.1", id="fragment"),
        pytest.param(b"GET /a b HTTP/1.1", id="space"),
        pytest.param(b"GET /a\tb HTTP/1.1", id="tab"),
        pytest.param(b"GET /\xc3\xa9 HTTP/1.1", id="bytes beyond ASCII"),
        pytest.param(b"GET /\x00 HTTP/1.1", id="NUL"),
        pytest.param(b"GET admin HTTP/1.1", id="no slash"),
        pytest.param(b"GET  HTTP/1.1", id="empty"),
    ],
)
def test_a_target_that_reads_in_two_ways_is_refused(
    gateway: Gateway, backend: Backend, request_line: bytes
) -> None:
    answer = gateway.exchange(request_line + b"\r\nHost: shop.example\r\n\r\n")

    assert answer.status == 400
    assert backend.requests == []


@pytest.mark.parametrize(
    "request_line", [b"CONNECT shop.example:443 HTTP/1.1", b"TRACE / HTTP/1.1"]
)
def test_methods_that_are_not_for_a_gateway_are_refused(
    gateway: Gateway, backend: Backend, request_line: bytes
) -> None:
    answer = gateway.exchange(request_line + b"\r\nHost: shop.example:443\r\n\r\n")

    assert answer.status == 501
    assert backend.requests == []


def test_the_target_that_was_judged_is_the_one_forwarded(
    gateway: Gateway, backend: Backend
) -> None:
    gateway.exchange(b"GET /another HTTP/1.1\r\nHost: h\r\n\r\n", proxy="judged")

    assert backend.requests[0].target == b"/judged%2Fpath?a=%20b"


def test_a_method_of_ones_own_is_forwarded(gateway: Gateway, backend: Backend) -> None:
    gateway.exchange(b"PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\n")

    assert backend.requests[0].line == b"PROPFIND / HTTP/1.1"


class TestServersWithoutTheRawTarget:
    def test_a_path_that_decoding_leaves_alone_is_rebuilt(self) -> None:
        environ = {"SCRIPT_NAME": "/app", "PATH_INFO": "/a.b/~c;d", "QUERY_STRING": "e=%2F"}

        assert request_target(environ) == "/app/a.b/~c;d?e=%2F"

    @pytest.mark.parametrize("path", ["/a b", "/%2e", "/a?b", "/a#b", "/\xe9", "/\\", "/\r\n", ""])
    def test_a_path_whose_escaping_is_lost_is_refused(self, path: str) -> None:
        with pytest.raises(ProxyError) as refused:
            request_target({"PATH_INFO": path})

        assert refused.value.status == 400

    def test_the_raw_target_counts_where_there_is_one(self) -> None:
        environ = {"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb"}

        assert request_target(environ) == "/a%2Fb"

    @pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "admin", "*", "/a#b", "/\xe9"])
    def test_a_judged_target_is_still_no_way_to_split_a_request(self, target: str) -> None:
        with pytest.raises(ProxyError):
            request_target({"gateway.target": target})
