"""Runs the servers that bench/proxies.py and bench/concurrency.py measure, on loopback.

All gateways have the same store and secret key, so one token is valid at all of them. No server
writes a line for each request, neither to an access log nor to the audit log, unless the caller
asks for it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load import request
from bench.resources import Server
from tests.forward_auth.proxies import edited
from tests.support.oauth_client import Browser, Client
from tests.support.processes import ROOT, free_port, python_module, running
from tests.support.running_gateway import write_settings

SMALL_BYTES = 100
LARGE_BYTES = 10_000_000

# Some defaults of nginx would close connections early or write bodies to files.
_NGINX = """\
daemon off;
pid {folder}/nginx.pid;
worker_processes {workers};
events {{ worker_connections 8192; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    proxy_max_temp_file_size 0;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""
_BACKEND = """\
server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /files/small {{ default_type text/plain; return 200 "{small}"; }}
    location = /files/large {{ alias {folder}/large; }}
}}
"""
_ALONE = """\
upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}
server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
        proxy_pass http://backend;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header Connection "";
        proxy_set_header X-Forwarded-For $remote_addr;
    }}
}}
"""


@dataclass(frozen=True)
class Target:
    """One thing to measure: its port and token, and the servers that do its work, by name."""

    port: int
    token: str | None
    servers: dict[str, Server]

    def message(self, path: str) -> bytes:
        """Return the request for ``path``."""
        return request(path, self.token)


class Stand:
    """Starts servers with ``workers`` processes each; ``stack`` stops them."""

    def __init__(self, stack: ExitStack, workers: int) -> None:
        self._stack = stack
        self._workers = workers
        self._folder = Path(stack.enter_context(TemporaryDirectory()))
        self._started = 0

    def folder(self) -> Path:
        """Make a new folder for a server, and return it."""
        self._started += 1
        folder = self._folder / str(self._started)
        folder.mkdir()
        return folder

    def settings(self, backend: int, *replace: tuple[str, str], port: int | None = None) -> Path:
        """Write a configuration file with ``replace`` applied to it, and return its path."""
        return write_settings(
            self.folder(),
            port=port or free_port(),
            upstream=f"http://127.0.0.1:{backend}",
            data_dir=self._folder / "data",
            replace=(
                ("[audit]", "[audit]\nrequests = false"),
                ("workers = 1", f"workers = {self._workers}"),
                ("sign_in_attempts = 1000", "sign_in_attempts = 1000000"),
                *replace,
            ),
        )

    def gateway(self, backend: int, *replace: tuple[str, str]) -> Target:
        """Run ``gateway serve``, and get a token from it."""
        port = free_port()
        config = self.settings(backend, *replace, port=port)
        command = python_module("gateway", "serve", "--config", str(config))
        server = self.run(command, config.parent, port, "/oauth/health")
        return Target(port, token_of(port), {"gateway": server})

    def gateway_for_proxies(self) -> Target:
        """Run a gateway that trusts the proxies on this machine."""
        return self.gateway(9, ('"127.0.0.2"', '"127.0.0.1"'))

    def wsgi(self, app: str, ready: str, **environ: str) -> Target:
        """Run a WSGI application under the worker of ``gateway serve``."""
        port = free_port()
        command = [
            *python_module("gunicorn", "--worker-class", "gateway.server.worker.Worker"),
            *("--workers", str(self._workers), "--worker-connections", "1000"),
            # As in ``gateway serve``, no X-Forwarded-Proto is believed or even read.
            *("--forwarded-allow-ips", "", "--forwarder-headers", ""),
            *("--bind", f"127.0.0.1:{port}", "--no-control-socket", app),
        ]
        server = self.run(command, self.folder(), port, ready, environ)
        return Target(port, None, {"gunicorn": server})

    def backend(self) -> Target:
        """Run nginx as the backend: /files/small is in memory, /files/large in the page cache."""
        folder, port = self.folder(), free_port()
        (folder / "large").write_bytes(bytes(LARGE_BYTES))
        servers = _BACKEND.format(port=port, folder=folder, small="x" * SMALL_BYTES)
        return Target(port, None, {"backend": self._nginx(folder, port, servers)})

    def nginx_alone(self, backend: int) -> Target:
        """Run nginx as a proxy that asks no gateway."""
        port = free_port()
        servers = _ALONE.format(port=port, backend=backend)
        return Target(port, None, {"nginx": self._nginx(self.folder(), port, servers)})

    def nginx_asking(self, gateway: Target, backend: int) -> Target:
        """Run the nginx example without TLS, with an idle connection for each client."""
        port = free_port()
        servers = edited(
            "nginx.conf",
            {
                "listen 443 ssl": f"listen 127.0.0.1:{port} backlog=4096",
                "    ssl_certificate /etc/ssl/gateway.example.com.pem;\n": "",
                "    ssl_certificate_key /etc/ssl/gateway.example.com.key;\n": "",
                "keepalive 32;": "keepalive 256; keepalive_requests 1000000000;",
                "127.0.0.1:8000": f"127.0.0.1:{gateway.port}",
                "127.0.0.1:8080": f"127.0.0.1:{backend}",
            },
        )
        nginx = self._nginx(self.folder(), port, servers)
        return Target(port, gateway.token, {"nginx": nginx, **gateway.servers})

    def envoy_asking(self, binary: str, gateway: Target, backend: int) -> Target:
        """Run the Envoy example without TLS."""
        port, folder = free_port(), self.folder()
        text = edited(
            "envoy.yaml",
            {
                "address: 0.0.0.0, port_value: 8443": f"address: 127.0.0.1, port_value: {port}",
                "port_value: 8000": f"port_value: {gateway.port}",
                "port_value: 8080": f"port_value: {backend}",
            },
        )
        before, _, tls = text.partition("- transport_socket:")
        (folder / "envoy.yaml").write_text(before + "- filters:" + tls.partition(" filters:")[2])
        command = [
            *(binary, "--config-path", str(folder / "envoy.yaml"), "--log-level", "warning"),
            *("--disable-hot-restart", "--concurrency", str(self._workers)),
        ]
        server = self.run(command, folder, port, "/")
        return Target(port, gateway.token, {"Envoy": server, **gateway.servers})

    def run(
        self,
        command: list[str],
        folder: Path,
        port: int,
        ready: str,
        environ: dict[str, str] | None = None,
    ) -> Server:
        """Run a server until the stack ends; it is ready when ``ready`` gets any response."""
        process = self._stack.enter_context(
            running(
                command,
                log=folder / "server.log",
                ready=f"http://127.0.0.1:{port}{ready}",
                environ={**(environ or {}), "PYTHONPATH": str(ROOT)},
                any_status=True,
            )
        )
        return Server(process.pid)

    def _nginx(self, folder: Path, port: int, servers: str) -> Server:
        config = folder / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, workers=self._workers, servers=servers))
        # Started as root, nginx would run its workers as a user who cannot read this folder.
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        command = ["nginx", "-c", str(config), "-e", str(folder / "error.log"), *user]
        return self.run(command, folder, port, "/")


def token_of(port: int) -> str:
    """Sign in, allow the client, and return its access token."""
    url = f"http://127.0.0.1:{port}"
    browser = Browser(url)
    assert browser.sign_in().status_code == 303
    token: str = Client(url).redeem(browser.code()).json()["access_token"]
    return token
