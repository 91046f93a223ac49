"""Backends that nobody here wrote: wrapped and proxied, they answer as they do on their own.

httpbin is Flask's showcase of nearly everything that HTTP can do. Beside it stands Flask's own
static file service, for what httpbin leaves out: files sent with ``wsgi.file_wrapper``, ranges
of large ones, and conditional requests with validators that come from a file system. Last, the
standard library's file server: HTTP/1.0, one answer a connection, and no WSGI at all.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import pytest
import requests
from flask import Flask
from urllib3 import encode_multipart_formdata
from werkzeug import http
from werkzeug.datastructures import Authorization

from gateway import OAuthGateway, load_config
from tests.support.oauth_client import Client
from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import SERVICE_SECRET, running_gateway, write_settings

_FOLDER = "TESTS_STATIC_FOLDER"
_HOST = "backend.test"
_LARGE = Random(7).randbytes(8 * 1024 * 1024)

_UPLOAD, _UPLOAD_TYPE = encode_multipart_formdata(
    {"field": "ü", "file": ("a.bin", _LARGE[:1_000_000])}, boundary="between-the-parts"
)

#: What a server says of itself or of its connection, and not of the answer.
_OF_THE_SERVER = frozenset({"connection", "date", "keep-alive", "server", "via"})
#: What a gateway adds to a request, as httpbin shows it.
_ADDED = frozenset({"Forwarded", "X-Forwarded-Client", "X-Forwarded-Host", "X-Forwarded-Scope"})


# --- The applications, for gunicorn


def static_files() -> Flask:
    """Return an application that serves a folder and nothing else."""
    return Flask("static files", static_folder=os.environ[_FOLDER], static_url_path="/files")


def httpbin_itself() -> Flask:
    """Return httpbin, with a function for it that Werkzeug 3 has under another name only."""
    vars(http).setdefault("parse_authorization_header", Authorization.from_header)
    from httpbin import app  # noqa: PLC0415 - it cannot be imported before

    application: Flask = app
    return application


def wrapped_httpbin() -> OAuthGateway:
    return OAuthGateway(httpbin_itself(), load_config(os.environ["GATEWAY_CONFIG"]))


def wrapped_static_files() -> OAuthGateway:
    return OAuthGateway(static_files(), load_config(os.environ["GATEWAY_CONFIG"]))


# --- The servers


@dataclass(frozen=True)
class Backend:
    """One application twice: on its own, and behind a gateway."""

    own: str
    gateway: str
    token: str

    def alone(self, method: str, target: str, **options: Any) -> requests.Response:
        """Ask the application itself."""
        return _request(method, self.own + target, **options)

    def guarded(self, method: str, target: str, **options: Any) -> requests.Response:
        """Ask it through the gateway, with a token."""
        bearer = {"Authorization": f"Bearer {self.token}"}
        headers = {**options.pop("headers", {}), **bearer}
        return _request(method, self.gateway + target, headers=headers, **options)


def _request(method: str, url: str, **options: Any) -> requests.Response:
    # Both are told the same host, so that what they make of it is the same too.
    headers = {"Host": _HOST, **options.pop("headers", {})}
    return requests.request(
        method, url, headers=headers, timeout=20, allow_redirects=False, **options
    )


@contextmanager
def served(
    application: str, log: Path, ready: str, port: int, environ: Mapping[str, str]
) -> Iterator[str]:
    """Run an application of this module under gunicorn; give its address."""
    url = f"http://127.0.0.1:{port}"
    command = python_module(
        *("gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "8"),
        *("--no-control-socket", f"{__name__}:{application}"),
    )
    # The order of a set, which some answers show, is then the same in every process.
    environ = {**environ, "PYTHONHASHSEED": "0"}
    with running(command, log=log, ready=url + ready, environ=environ):
        yield url


@contextmanager
def guarded(mode: str, application: str, own: str, folder: Path) -> Iterator[str]:
    """Run a gateway around an application, or in front of it at ``own``; give its address."""
    if mode == "proxied":
        with running_gateway("standalone", folder, upstream=own) as gateway:
            yield gateway.url
        return
    port = free_port()
    wrapped = served(
        f"wrapped_{application}()",
        folder / "log",
        "/oauth/health",
        port,
        {"GATEWAY_CONFIG": str(write_settings(folder, port=port))},
    )
    with wrapped as url:
        yield url


def token_of(gateway: str) -> str:
    answer = Client(gateway, "service", SERVICE_SECRET).post(
        "/oauth/token", {"grant_type": "client_credentials", "scope": "project"}
    )
    return str(answer.json()["access_token"])


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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that is served, also in the environment of the servers."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "large.bin").write_bytes(_LARGE)
    (folder / "größe & co.txt").write_text("Straße\n", encoding="utf-8")
    (folder / "empty.txt").touch()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(_FOLDER, str(folder))
        yield folder


@pytest.fixture(scope="module")
def own_files(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("static") / "log"
    with served("static_files()", log, "/files/empty.txt", free_port(), {}) as url:
        yield url


@pytest.fixture(scope="module", params=["wrapped", "proxied"])
def files(
    request: pytest.FixtureRequest, own_files: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    work = tmp_path_factory.mktemp(f"files-{request.param}")
    with guarded(request.param, "static_files", own_files, work) as gateway:
        yield Backend(own_files, gateway, token_of(gateway))


# --- What is the same


def told(answer: requests.Response) -> tuple[int, str, Counter[tuple[str, str]]]:
    """Return an answer's status and reason, and its headers, each as often as it came."""
    fields = Counter(
        (name.lower(), value)
        for name, value in answer.raw.headers.items()
        if name.lower() not in _OF_THE_SERVER
    )
    return answer.status_code, answer.reason, fields


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
    pytest.param("POST", "/post", {"data": _LARGE[:150_000]}, id="bytes"),
    pytest.param("POST", "/post", chunks(b"one,", b"two", _LARGE[:80_000]), id="chunks"),
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


# --- Files


def _range(value: str) -> dict[str, Any]:
    return {"headers": {"Range": value}}


FILES = [
    pytest.param("large.bin", {}, 200, id="whole"),
    pytest.param("large.bin", _range("bytes=0-0"), 206, id="first-byte"),
    pytest.param("large.bin", _range("bytes=1000000-7999999"), 206, id="seven-million"),
    pytest.param("large.bin", _range("bytes=-500"), 206, id="last-500"),
    pytest.param("large.bin", _range(f"bytes={len(_LARGE) - 10}-"), 206, id="to-the-end"),
    pytest.param("large.bin", _range(f"bytes={len(_LARGE)}-"), 416, id="beyond-the-end"),
    pytest.param(
        "large.bin",
        {"headers": {"Range": "bytes=0-9", "If-Range": '"another"'}},
        200,
        id="if-range-of-another",
    ),
    pytest.param("gr%C3%B6%C3%9Fe%20%26%20co.txt", {}, 200, id="escaped-name"),
    pytest.param("empty.txt", {}, 200, id="empty"),
    pytest.param("missing.txt", {}, 404, id="missing"),
]


@pytest.mark.parametrize(("name", "options", "status"), FILES)
def test_a_file_is_served_the_same(
    files: Backend, name: str, options: dict[str, Any], status: int
) -> None:
    alone = files.alone("GET", f"/files/{name}", **options)
    guarded = files.guarded("GET", f"/files/{name}", **options)
    assert guarded.status_code == status
    assert told(guarded) == told(alone)
    assert sha256(guarded.content).digest() == sha256(alone.content).digest()


def test_a_file_that_did_not_change_is_not_sent_again(files: Backend) -> None:
    first = files.guarded("HEAD", "/files/large.bin")
    assert first.headers["Content-Length"] == str(len(_LARGE))
    for condition in (
        {"If-None-Match": first.headers["ETag"]},
        {"If-Modified-Since": first.headers["Last-Modified"]},
    ):
        again = files.guarded("GET", "/files/large.bin", headers=condition)
        assert (again.status_code, again.content) == (304, b"")
    part = {"Range": "bytes=3-6", "If-Range": first.headers["ETag"]}
    assert files.guarded("GET", "/files/large.bin", headers=part).content == _LARGE[3:7]


def test_a_file_server_of_http_1_0_is_proxied(folder: Path, tmp_path: Path) -> None:
    """``python -m http.server``: it closes each connection, also in the middle of a pool."""
    port = free_port()
    own = f"http://127.0.0.1:{port}"
    command = python_module(
        *("http.server", str(port), "--bind", "127.0.0.1", "--directory", str(folder))
    )
    with (
        running(command, log=tmp_path / "files.log", ready=own),
        running_gateway("standalone", tmp_path / "gateway", upstream=own) as gateway,
    ):
        backend = Backend(own, gateway.url, token_of(gateway.url))
        for method, target in (
            ("GET", "/large.bin"),
            ("HEAD", "/large.bin"),
            ("GET", "/"),
            ("GET", "/missing"),
            ("POST", "/large.bin"),
        ):
            alone, guarded = backend.alone(method, target), backend.guarded(method, target)
            assert told(guarded) == told(alone)
            assert guarded.content == alone.content
