"""A request that two parsers could read in two ways is refused, or made safe.

The parser in front is the server's. What counts is what the backend got: never a second
request that the gateway did not see as one.
"""

from __future__ import annotations

import contextlib
import io

import pytest

from gateway.http.proxy_errors import ProxyError
from gateway.proxy.request_body import request_body

from .conftest import Gateway
from .wire import Answer, Backend, EndOfStreamError

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"


def every_answer(gateway: Gateway, *data: bytes) -> list[Answer]:
    """Send bytes and read answers until the server closes the connection."""
    client = gateway.connect()
    with contextlib.suppress(OSError):
        client.send(*data)
    answers = []
    with contextlib.suppress(EndOfStreamError):
        while True:
            answers.append(client.read_answer())
    return answers


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"Content-Length: 4\r\nTransfer-Encoding: chunked", id="CL.TE"),
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 4", id="TE.CL"),
        pytest.param(b"Content-Length: 5\r\nContent-Length: 6", id="two lengths"),
        pytest.param(b"Content-Length: 5\r\nContent-Length: 5", id="the same length twice"),
        pytest.param(b"Content-Length: 5, 6", id="a list of lengths"),
        pytest.param(b"Content-Length: +5", id="signed length"),
        pytest.param(b"Content-Length: -1", id="negative length"),
        pytest.param(b"Content-Length: 0x5", id="hexadecimal length"),
        pytest.param(b"Content-Length: 5 5", id="length with a space"),
        pytest.param(b"Content-Length: \xb2", id="a digit that is none"),
        pytest.param(b"Transfer-Encoding: xchunked", id="unknown coding"),
        pytest.param(b"Transfer-Encoding: identity", id="identity"),
        pytest.param(b"Transfer-Encoding: gzip, chunked", id="another coding inside"),
        pytest.param(b"Transfer-Encoding: chunked, chunked", id="chunked twice"),
        pytest.param(b"Transfer-Encoding: chunked, identity", id="chunked not last"),
        pytest.param(b"Transfer-Encoding: \x0bchunked", id="vertical tab"),
        pytest.param(b"Transfer-Encoding : chunked", id="space before the colon"),
        pytest.param(b"Content-Length : 5", id="space before the colon of the length"),
        pytest.param(b" Content-Length: 5", id="space before the name"),
        pytest.param(b"X-A: b\r\n Transfer-Encoding: chunked", id="folded line"),
        pytest.param(b"X-A: b\rTransfer-Encoding: chunked", id="bare CR"),
        pytest.param(b"X-A: b\nTransfer-Encoding: chunked", id="bare LF"),
        pytest.param(b"X-A: b\x00c", id="NUL"),
        pytest.param(b"X-A\x00: b", id="NUL in a name"),
        pytest.param(b"X A: b", id="space in a name"),
        pytest.param(b": b", id="no name"),
        pytest.param(b"no colon", id="no colon"),
        pytest.param(b"Host: other", id="second Host"),
    ],
)
def test_two_readings_are_refused_and_the_connection_closed(
    gateway: Gateway, backend: Backend, head: bytes
) -> None:
    answers = every_answer(
        gateway, b"POST / HTTP/1.1\r\nHost: h\r\n", head, b"\r\n\r\n0\r\n\r\n", SMUGGLED
    )

    assert [answer.status in {400, 501} for answer in answers] == [True]
    assert backend.requests == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"5\nhello\r\n0\r\n\r\n", id="bare LF after the size"),
        pytest.param(b"0x5\r\nhello\r\n0\r\n\r\n", id="prefix"),
        pytest.param(b"-1\r\nhello\r\n0\r\n\r\n", id="negative"),
        pytest.param(b"5 \r\nhello\r\n0\r\n\r\n", id="space after the size"),
        pytest.param(b"\r\nhello\r\n0\r\n\r\n", id="no size"),
        pytest.param(b"4\r\nhello\r\n0\r\n\r\n", id="a size too small"),
        pytest.param(b"5;a=\x00\r\nhello\r\n0\r\n\r\n", id="NUL in an extension"),
        pytest.param(b"5;\rx\r\nhello\r\n0\r\n\r\n", id="bare CR in an extension"),
        pytest.param(b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n", id="a bad trailer"),
        pytest.param(b"5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", id="framing in a trailer"),
    ],
)
def test_a_malformed_chunk_never_becomes_a_whole_request(
    gateway: Gateway, backend: Backend, body: bytes
) -> None:
    answers = every_answer(
        gateway,
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
        body,
        SMUGGLED,
    )

    assert [answer.status for answer in answers] == [400]
    assert backend.requests == []


def test_chunks_are_framed_afresh_without_extensions_and_trailers(
    gateway: Gateway, backend: Backend
) -> None:
    answer = gateway.exchange(
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\nTrailer: X-Sum\r\n\r\n"
        b'3;a="b"\r\nhel\r\n002\r\nlo\r\n0\r\nX-Sum: 1\r\n\r\n'
    )

    assert answer.status == 200
    request = backend.requests[0]
    assert request.body == b"5\r\nhello\r\n0\r\n\r\n"
    assert request.values("Transfer-Encoding") == ["chunked"]
    assert b"X-Sum" not in request.head


@pytest.mark.parametrize("method", [b"GET", b"POST", b"DELETE", b"OPTIONS"])
def test_a_body_that_looks_like_a_request_stays_a_body(
    gateway: Gateway, backend: Backend, method: bytes
) -> None:
    length = b"Content-Length: %d\r\n\r\n" % len(SMUGGLED)
    answer = gateway.exchange(method + b" / HTTP/1.1\r\nHost: h\r\n", length, SMUGGLED)

    assert answer.status == 200
    assert [(one.target, one.body) for one in backend.requests] == [(b"/", SMUGGLED)]


def test_bytes_beyond_the_length_are_the_next_request(gateway: Gateway, backend: Backend) -> None:
    client = gateway.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", SMUGGLED)

    assert [client.read_answer().status, client.read_answer().status] == [200, 200]
    assert [one.target for one in backend.requests] == [b"/", b"/smuggled"]
    assert backend.requests[0].body == b"hi"


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", id="Host twice"),
        pytest.param(b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", id="space after the version"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", id="bare LF everywhere"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", id="bare LF after Host"),
        pytest.param(b"get / HTTP/1.1\r\nHost: a\r\n\r\n", id="lower-case method"),
        pytest.param(b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", id="a method that is no token"),
        pytest.param(b"GET / HTTP/3.7\r\nHost: a\r\n\r\n", id="a version that is none"),
        pytest.param(
            b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="chunked in HTTP/1.0",
        ),
    ],
)
def test_a_head_that_is_not_one_is_refused(
    gateway: Gateway, backend: Backend, request_bytes: bytes
) -> None:
    answers = every_answer(gateway, request_bytes)

    assert [answer.status for answer in answers] == [400]
    assert backend.requests == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", id="a list of Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", id="a Host with a space"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", id="a Host with a path"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", id="a Host with a user"),
        pytest.param(b"GET / HTTP/1.1\r\nHost:\r\n\r\n", id="an empty Host"),
    ],
)
def test_a_host_that_is_not_one_is_refused(
    gateway: Gateway, backend: Backend, request_bytes: bytes
) -> None:
    """The framing is beyond doubt, so the connection may go on with the next request."""
    client = gateway.connect()
    client.send(request_bytes, SMUGGLED)

    assert [client.read_answer().status, client.read_answer().status] == [400, 200]
    assert [one.target for one in backend.requests] == [b"/smuggled"]


class TestServersWithALaxerParser:
    """The same rules on the environ, for a server that would let such a request through."""

    @pytest.mark.parametrize("length", ["+5", "-1", "5, 5", "0x5", "5 ", "\u0665", "9" * 20])
    def test_a_length_that_is_no_number_is_refused(self, length: str) -> None:
        with pytest.raises(ProxyError) as refused:
            request_body({"CONTENT_LENGTH": length, "wsgi.input": io.BytesIO()}, 1)

        assert refused.value.status == 400

    @pytest.mark.parametrize(
        ("environ", "status"),
        [
            ({"CONTENT_LENGTH": "5", "wsgi.input_terminated": True}, 400),
            ({"HTTP_TRANSFER_ENCODING": "gzip, chunked", "wsgi.input_terminated": True}, 501),
            ({}, 411),
        ],
    )
    def test_a_transfer_coding_that_cannot_be_passed_on_is_refused(
        self, environ: dict[str, object], status: int
    ) -> None:
        basis = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input": io.BytesIO()}

        with pytest.raises(ProxyError) as refused:
            request_body(basis | environ, 1)

        assert refused.value.status == status

    def test_no_framing_means_no_body(self) -> None:
        assert request_body({"CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(b"hi")}, 1) is None
