"""httpbin, wrapped and proxied, answers as it does on its own.

httpbin is Flask's showcase of nearly everything that HTTP can do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
import requests
from urllib3 import encode_multipart_formdata

from tests.support.processes import free_port
from tests.world.backends.real_backends import LARGE, Backend, guarded, served, token_of, told

_UPLOAD, _UPLOAD_TYPE = encode_multipart_formdata(
    {"field": "ü", "file": ("a.bin", LARGE[:1_000_000])}, boundary="between-the-parts"
)
#: What a gateway adds to a request, as httpbin shows it.
_ADDED = frozenset({"Forwarded", "X-Forwarded-Client", "X-Forwarded-Host", "X-Forwarded-Scope"})


# --- The servers


@pytest.fixture(scope="module")
def own_httpbin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("httpbin") / "log"
    with served("httpbin_itself()", log, "/get", free_port(), {}) as url:
        yield url


@pytest.fixture(scope="module", params=["wrapped", "proxied"])
def httpbin(
    request: pytest.FixtureRequest, own_httpbin: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    folder = tmp_path_factory.mktemp(f"httpbin-{request.param}")
    with guarded(request.param, "httpbin", own_httpbin, folder) as gateway:
        yield Backend(own_httpbin, gateway, token_of(gateway))


# --- What is the same


def chunks(*parts: bytes) -> Callable[[], dict[str, Any]]:
    """Return options for a body of unknown length; a function, for each sending uses it up."""
    return lambda: {"data": iter(parts)}


ECHOED = [
    pytest.param("GET", "/get?a=1&a=2&b=%20x%2Fy&c", {}, id="get"),
    pytest.param("GET", "/anything/a%20b/%E2%82%AC;p=1?q=%C3%BC", {}, id="escapes"),
    pytest.param("GET", "/headers", {"headers": {"X-A": "a, b", "X-B": b"\xfc"}}, id="headers"),
    pytest.param("GET", "/cookies", {"cookies": {"one": "1", "two": "b c"}}, id="cookies"),
    pytest.param("POST", "/post", {"data": {"a": ["1", "2"], "ü": "€ &="}}, id="form"),
    pytest.param("POST", "/post", {"json": {"a": [1, None, "€"]}}, id="json"),
    pytest.param(
        "POST",
        "/post",
        {"data": _UPLOAD, "headers": {"Content-Type": _UPLOAD_TYPE}},
        id="upload",
    ),
    pytest.param("POST", "/post", {"data": LARGE[:150_000]}, id="bytes"),
    pytest.param("POST", "/post", chunks(b"one,", b"two", LARGE[:80_000]), id="chunks"),
    pytest.param("POST", "/post", {"data": b""}, id="empty"),
    pytest.param("PUT", "/put", {"data": "text", "headers": {"Content-Type": "text/x"}}, id="put"),
    pytest.param("PATCH", "/patch", {"json": {}}, id="patch"),
    pytest.param("DELETE", "/delete", {"data": {"why": "done"}}, id="delete"),
    pytest.param("GET", "/stream/5", {}, id="lines"),
    pytest.param("GET", "/cache/60", {}, id="cache"),
    pytest.param("GET", "/gzip", {}, id="gzip"),
    pytest.param("GET", "/deflate", {}, id="deflate"),
    pytest.param("GET", "/brotli", {"headers": {"Accept-Encoding": "br"}}, id="brotli"),
]


@pytest.mark.parametrize(("method", "target", "options"), ECHOED)
def test_httpbin_sees_the_same_request(
    httpbin: Backend, method: str, target: str, options: dict[str, Any] | Callable[[], Any]
) -> None:
    """Every header, parameter and byte; and beside them what the gateway says of the client."""
    alone, guarded = (
        send(method, target, **(options() if callable(options) else options))
        for send in (httpbin.alone, httpbin.guarded)
    )
    assert guarded.status_code == alone.status_code == 200
    expected, seen = _lines(alone), _lines(guarded)
    for line in (*expected, *seen):
        # The gateway has a connection of its own.
        line.get("headers", {}).pop("Connection", None)
    for line in seen:
        if "headers" in line:
            assert line["headers"]["X-Forwarded-Client"] == "service"
            line["headers"] = {
                name: value for name, value in line["headers"].items() if name not in _ADDED
            }
    assert seen == expected


def _lines(answer: requests.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


ANSWERED = [
    *(
        pytest.param("GET", f"/status/{code}", {}, id=f"status-{code}")
        for code in (200, 201, 204, 301, 304, 400, 401, 403, 404, 407, 418, 429, 500, 502, 503)
    ),
    pytest.param("OPTIONS", "/get", {}, id="options"),
    pytest.param("HEAD", "/image/png", {}, id="head"),
    pytest.param("DELETE", "/get", {}, id="method-not-allowed"),
    pytest.param("GET", "/redirect/3", {}, id="redirect"),
    pytest.param(
        "GET",
        "/redirect-to?url=https%3A%2F%2Felsewhere.test%2F&status_code=307",
        {},
        id="elsewhere",
    ),
    pytest.param("GET", "/cookies/set?one=1&two=2", {}, id="two-cookies"),
    pytest.param("GET", "/response-headers?X-Many=1&X-Many=2&X-Text=a%20b", {}, id="repeated"),
    pytest.param("GET", "/basic-auth/user/password", {}, id="challenge"),
    pytest.param("GET", "/stream-bytes/100000?seed=7&chunk_size=999", {}, id="stream-bytes"),
    pytest.param("GET", "/range/5000?chunk_size=100", {}, id="whole"),
    pytest.param("GET", "/range/5000", {"headers": {"Range": "bytes=9-99"}}, id="range"),
    pytest.param("GET", "/etag/v1", {"headers": {"If-None-Match": '"v1"'}}, id="not-modified"),
    pytest.param("GET", "/etag/v1", {"headers": {"If-Match": '"v2"'}}, id="precondition-failed"),
    pytest.param("GET", "/cache", {"headers": {"If-None-Match": "x"}}, id="cache"),
    pytest.param("GET", "/encoding/utf8", {}, id="utf-8"),
    pytest.param("GET", "/image/png", {}, id="png"),
    pytest.param("GET", "/xml", {}, id="xml"),
]


@pytest.mark.parametrize(("method", "target", "options"), ANSWERED)
def test_httpbin_is_heard_as_it_answers(
    httpbin: Backend, method: str, target: str, options: dict[str, Any]
) -> None:
    """Status, reason, every header as often as it was sent, framing and body."""
    alone = httpbin.alone(method, target, **options)
    guarded = httpbin.guarded(method, target, **options)
    assert told(guarded) == told(alone)
    assert guarded.content == alone.content


def test_redirects_and_cookies_lead_a_session_to_its_end(httpbin: Backend) -> None:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {httpbin.token}"
        last = session.get(f"{httpbin.gateway}/redirect/3", timeout=20)
        assert (last.status_code, len(last.history)) == (200, 3)
        session.get(f"{httpbin.gateway}/cookies/set?flavour=oat", timeout=20)
        shown = session.get(f"{httpbin.gateway}/cookies", timeout=20).json()
        assert shown == {"cookies": {"flavour": "oat"}}


def test_what_httpbin_sends_bit_by_bit_arrives_bit_by_bit(httpbin: Backend) -> None:
    answer = httpbin.guarded("GET", "/drip?numbytes=5&duration=0.5&delay=0", stream=True)
    arrived = []
    while answer.raw.read(1):
        arrived.append(monotonic())
    assert len(arrived) == 5
    assert arrived[-1] - arrived[0] > 0.3


def test_httpbin_is_not_reached_without_a_token(httpbin: Backend) -> None:
    refused = requests.get(f"{httpbin.gateway}/status/418", timeout=20)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "Access-Control-Allow-Origin" not in refused.headers
