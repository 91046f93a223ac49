"""A backend behind an address of its own has a certificate for a name; `upstream.server_name`."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.config.config_samples import ISSUER, faults
from tests.faults.tls import Authority
from tests.support.raw import request
from tests.support.running_gateway import running_gateway

from .wire import Backend

NAME = "app.internal"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ca")


@pytest.fixture(scope="module")
def asked() -> list[str | None]:
    """The names for which TLS asked the backend."""
    return []


@pytest.fixture(scope="module")
def named(authority: Authority, asked: list[str | None]) -> Iterator[Backend]:
    """A backend whose certificate is for a name, and not for its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign(NAME))
    context.sni_callback = lambda _, name, __: asked.append(name)
    backend = Backend(tls=context)
    backend.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    yield backend
    backend.close()


def status(folder: Path, backend: Backend, authority: Authority, server_name: str) -> int:
    """Return how a gateway answers that knows the backend by its address alone."""
    keys = f'ca_file = "{authority.file}"\nserver_name = "{server_name}"\n'
    upstream = f"https://127.0.0.1:{backend.port}"
    replace = (("\n[store]", f"{keys}\n[store]"),)
    with running_gateway("standalone", folder, upstream=upstream, replace=replace) as gateway:
        return request(gateway.port, "/public/x", host="shop.example").status


def test_the_certificate_must_have_the_configured_name(
    tmp_path: Path, named: Backend, authority: Authority, asked: list[str | None]
) -> None:
    assert status(tmp_path, named, authority, NAME) == 200
    assert asked == [NAME]
    assert named.requests[-1].values("Host") == ["shop.example"]


@pytest.mark.parametrize("server_name", ["", "other.internal", "127.0.0.1"])
def test_another_name_is_a_502(
    tmp_path: Path, named: Backend, authority: Authority, server_name: str
) -> None:
    assert status(tmp_path, named, authority, server_name) == 502


def test_a_name_for_tls_needs_tls() -> None:
    written = f'{ISSUER}[upstream]\nurl = "http://10.0.0.5"\nserver_name = "app.internal"\n'
    assert faults(written) == ["[upstream] server_name: is for a url that begins with https"]
    [line] = faults(f'{ISSUER}[upstream]\nurl = "https://10.0.0.5"\nserver_name = "a b"\n')
    assert line.startswith("[upstream] server_name: must be a host")
