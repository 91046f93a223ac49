"""A standalone gateway on a unix socket: only the proxy before it can tell clients apart."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.processes import ROOT, end, python_module
from tests.support.raw import RawResponse
from tests.support.running_gateway import write_settings
from tests.support.serving import until

_SECONDS = 20


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("gateway.test", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


@dataclass(frozen=True)
class OnUnixSocket:
    """The gateway, as its proxy sees it."""

    path: Path
    audit: Path

    def request(
        self, target: str, method: str = "GET", body: str | None = None, **headers: str
    ) -> RawResponse:
        """Send a request; an underscore in a header's name stands for a hyphen."""
        connection = _UnixConnection(self.path)
        try:
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, target, body, {**fields, "Connection": "close"})
            response = connection.getresponse()
            return RawResponse(response.status, tuple(response.getheaders()), response.read())
        finally:
            connection.close()

    def is_alive(self) -> bool:
        """Tell whether it answers."""
        with suppress(OSError):
            return self.request("/oauth/health/live").status == 200
        return False


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnUnixSocket]:
    """A gateway that trusts whoever may write to its socket, and stops a client after three."""
    folder = tmp_path_factory.mktemp("unix")
    path = folder / "s"
    config = write_settings(
        folder,
        port=9,
        replace=(
            ('listen = "127.0.0.1:9"', f'listen = "unix:{path}"'),
            ('trusted_proxies = ["127.0.0.2", "10.0.0.0/8"]', 'trusted_proxies = ["unix"]'),
            ("client_attempts = 1000", "client_attempts = 3"),
        ),
    )
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            python_module("gateway", "serve", "--config", str(config)),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    running = OnUnixSocket(path, folder / "audit.log")
    try:
        until(lambda: process.poll() is not None or running.is_alive())
        assert process.poll() is None, (folder / "gateway.log").read_text()
        yield running
    finally:
        end(process)


def test_clients_are_told_apart_by_what_the_proxy_says(gateway: OnUnixSocket) -> None:
    def guess(address: str) -> int:
        fields = {"grant_type": "client_credentials", "client_id": "service", "client_secret": "x"}
        headers = {"Content_Type": "application/x-www-form-urlencoded", "X_Forwarded_For": address}
        return gateway.request("/oauth/token", "POST", urlencode(fields), **headers).status

    assert [guess("192.0.2.1") for _ in range(4)] == [401, 401, 401, 429]
    # What the client itself wrote stands before it.
    assert guess("203.0.113.1, 192.0.2.1") == 429
    assert guess("192.0.2.2") == 401
    addresses = [json.loads(line)["address"] for line in gateway.audit.read_text().splitlines()]
    assert addresses == ["192.0.2.1"] * 5 + ["192.0.2.2"]


def test_the_proxy_may_ask_about_an_original_request(gateway: OnUnixSocket) -> None:
    asked = {"X_Original_Method": "GET", "X_Original_URI": "/public/x"}
    assert gateway.request("/oauth/verify", **asked).status == 200
    asked["X_Original_URI"] = "/private"
    refused = gateway.request("/oauth/verify", **asked)
    assert refused.status == 401
    assert refused.values("WWW-Authenticate") == ['Bearer realm="http://127.0.0.1:9"']
