"""Files, wrapped and proxied, are served as they are by their servers on their own.

Flask's static file service is here for what httpbin leaves out: files sent with
``wsgi.file_wrapper``, ranges of large ones, and conditional requests with validators that come
from a file system. Beside it stands the standard library's file server: HTTP/1.0, one answer a
connection, and no WSGI at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import running_gateway
from tests.world.backends.real_backends import (
    FOLDER,
    LARGE,
    Backend,
    guarded,
    served,
    token_of,
    told,
)

# --- The servers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that is served, also in the environment of the servers."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "large.bin").write_bytes(LARGE)
    (folder / "größe & co.txt").write_text("Straße\n", encoding="utf-8")
    (folder / "empty.txt").touch()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(FOLDER, str(folder))
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


# --- Files


def _range(value: str) -> dict[str, Any]:
    return {"headers": {"Range": value}}


FILES = [
    pytest.param("large.bin", {}, 200, id="whole"),
    pytest.param("large.bin", _range("bytes=0-0"), 206, id="first-byte"),
    pytest.param("large.bin", _range("bytes=1000000-7999999"), 206, id="seven-million"),
    pytest.param("large.bin", _range("bytes=-500"), 206, id="last-500"),
    pytest.param("large.bin", _range(f"bytes={len(LARGE) - 10}-"), 206, id="to-the-end"),
    pytest.param("large.bin", _range(f"bytes={len(LARGE)}-"), 416, id="beyond-the-end"),
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
    assert first.headers["Content-Length"] == str(len(LARGE))
    for condition in (
        {"If-None-Match": first.headers["ETag"]},
        {"If-Modified-Since": first.headers["Last-Modified"]},
    ):
        again = files.guarded("GET", "/files/large.bin", headers=condition)
        assert (again.status_code, again.content) == (304, b"")
    part = {"Range": "bytes=3-6", "If-Range": first.headers["ETag"]}
    assert files.guarded("GET", "/files/large.bin", headers=part).content == LARGE[3:7]


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
