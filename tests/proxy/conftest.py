"""Real gunicorn servers, of each kind of worker, in front of backends that record."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .wire import Answer, Backend, Client

CONNECTIONS = 3


@dataclass
class Gateway:
    """A server with one proxy on each of its ports, and the clients that a test connected."""

    ports: dict[str, int]
    clients: list[Client] = field(default_factory=list)

    def connect(self, proxy: str = "plain") -> Client:
        sock = socket.create_connection(("127.0.0.1", self.ports[proxy]), 5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(sock)
        self.clients.append(client)
        return client

    def exchange(self, *request: bytes, proxy: str = "plain") -> Answer:
        """Send a request on a connection of its own and read the answer."""
        client = self.connect(proxy)
        client.send(*request)
        return client.read_answer(head_only=request[0].startswith(b"HEAD "))

    def get(self, *lines: bytes, proxy: str = "plain") -> Answer:
        """Send ``GET /`` with these header lines."""
        return self.exchange(
            b"GET / HTTP/1.1\r\nHost: shop.example\r\n",
            *[line + b"\r\n" for line in lines],
            b"\r\n",
            proxy=proxy,
        )

    def hang_up(self) -> None:
        for client in self.clients:
            client.close()
        self.clients.clear()


@dataclass
class RunningGateway(Gateway):
    """A gateway in a process of its own."""

    process: subprocess.Popen[bytes] = field(kw_only=True)
    log: Path = field(kw_only=True)
    #: Whether the product's own server runs it, which tells the proxy more than others do.
    own_server: bool = field(kw_only=True)

    @property
    def worker(self) -> int:
        """The process that serves."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])


@dataclass
class Backends:
    """Every backend that a proxy under test may have."""

    plain: Backend
    others: list[Backend]
    unix: Backend
    tls: Backend


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give a self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    certificate_file, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


@pytest.fixture(scope="session")
def all_backends(
    certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backends]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    backends = Backends(
        plain=Backend(),
        others=[Backend() for _ in range(3)],
        unix=Backend(unix_path=tmp_path_factory.mktemp("unix") / "backend.sock"),
        tls=Backend(tls=context),
    )
    yield backends
    for backend in [backends.plain, *backends.others, backends.unix, backends.tls]:
        backend.close()


#: The product's own worker, which is made of gunicorn's for gevent, and one with threads.
OWN_WORKER = "gateway.server.worker.Worker"


@pytest.fixture(scope="session", params=[OWN_WORKER, "gthread"])
def server(
    request: pytest.FixtureRequest,
    all_backends: Backends,
    certificate: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningGateway]:
    """Start one server of each kind with all proxies, for all tests."""
    plain = all_backends.plain.url
    # A port that is taken, so that nobody else gets it, but where nobody listens.
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    unix = {"urls": [all_backends.unix.url]}
    tls = {"urls": [all_backends.tls.url]}
    proxies: dict[str, dict[str, Any]] = {
        "plain": {"upstream": {"urls": [plain]}},
        "trusting": {"upstream": {"urls": [plain]}, "trusted": ["127.0.0.0/8"]},
        "impatient": {"upstream": {"urls": [plain], "read_timeout": 0.5}},
        "impatient with streams": {
            "upstream": {"urls": [plain], "read_timeout": 5.0, "stream_timeout": 0.5}
        },
        "total": {"upstream": {"urls": [plain], "total_timeout": 0.4}},
        "narrow": {
            "upstream": {"urls": [plain], "connections": CONNECTIONS, "connect_timeout": 0.3}
        },
        "refused": {"upstream": {"urls": [nobody]}},
        "several": {"upstream": {"urls": [other.url for other in all_backends.others]}},
        "one down": {"upstream": {"urls": [nobody, plain]}},
        "unix": {"upstream": unix},
        "tls": {"upstream": {**tls, "ca_file": str(certificate[0])}},
        "tls unverified": {"upstream": tls},
        "operator": {
            "upstream": {
                "urls": [plain],
                "headers": {
                    "Host": "internal.example",
                    "X-Api-Key": "of the operator",
                    "X-Forwarded-Proto": "https",
                },
            }
        },
        "signed in": {
            "upstream": {"urls": [plain]},
            "identity": [["X-Forwarded-User", "ann"], ["X-Forwarded-Scope", "project"]],
        },
        "judged": {"upstream": {"urls": [plain]}, "target": "/judged%2Fpath?a=%20b"},
    }
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in proxies]
    ports = [listener.getsockname()[1] for listener in listeners]
    folder = tmp_path_factory.mktemp("server")
    configuration = folder / "gunicorn.conf.py"
    configuration.write_text(
        # As `gateway serve` does: imported before the fork, and before gevent patches anything.
        "import gateway.proxy.reverse_proxy\n"
        f"worker_class = {request.param!r}\n"
        f"bind = {[f'fd://{listener.fileno()}' for listener in listeners]}\n"
        "workers = 1\nthreads = 32\nkeepalive = 5\ngraceful_timeout = 1\n"
        "forwarded_allow_ips = ''\nforwarder_headers = ''\nheader_map = 'drop'\n"
        "control_socket_disable = True\n"
    )
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                "-c",
                configuration,
                f"{__package__}.factory:create_app()",
            ],
            env=os.environ
            | {"PROXIES": json.dumps(dict(zip(map(str, ports), proxies.values(), strict=True)))},
            cwd=Path(__file__).parents[2],
            pass_fds=[listener.fileno() for listener in listeners],
            stdout=output,
            stderr=output,
        )
    for listener in listeners:
        listener.close()
    gateway = RunningGateway(
        dict(zip(proxies, ports, strict=True)),
        process=process,
        log=log,
        own_server=request.param == OWN_WORKER,
    )
    try:
        wait_until_ready(gateway)
        yield gateway
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(10)
        closed.close()


def wait_until_ready(gateway: RunningGateway) -> None:
    """Wait for an answer of any kind: the listeners take connections before the workers run."""
    deadline = time.monotonic() + 20
    while b"Booting worker" not in gateway.log.read_bytes():
        assert gateway.process.poll() is None, gateway.log.read_text()
        assert time.monotonic() < deadline, gateway.log.read_text()
        time.sleep(0.02)


@pytest.fixture
def gateway(request: pytest.FixtureRequest, server: RunningGateway) -> Iterator[RunningGateway]:
    if f"[{OWN_WORKER}-no Host]" in request.node.name:
        pytest.skip("its own worker ends it, as tests/server/test_http_parser.py shows")
    yield server
    server.hang_up()


@pytest.fixture
def backends(all_backends: Backends) -> Iterator[Backends]:
    """Give all backends, answering ``ok``; their connections end with the test."""
    every = [all_backends.plain, *all_backends.others, all_backends.unix, all_backends.tls]
    for backend in every:
        backend.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    yield all_backends
    for backend in every:
        backend.forget()


@pytest.fixture
def backend(backends: Backends) -> Backend:
    return backends.plain
