"""The application under test: one proxy for each port, as PROXIES in the environment says."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from gateway.config.settings import Server, Upstream
from gateway.proxy.reverse_proxy import Proxy


def create_app() -> Any:
    """Give an application that sends a request to the proxy of the port it came to."""
    described: dict[str, dict[str, Any]] = json.loads(os.environ["PROXIES"])
    proxies = {port: make_proxy(description) for port, description in described.items()}

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        description = described[environ["SERVER_PORT"]]
        if "identity" in description:
            environ["gateway.identity_headers"] = tuple(map(tuple, description["identity"]))
        if "target" in description:
            environ["gateway.target"] = description["target"]
        return proxies[environ["SERVER_PORT"]](environ, start_response)

    return app


def make_proxy(description: dict[str, Any]) -> Proxy:
    upstream = dict(description["upstream"])
    upstream["urls"] = tuple(upstream["urls"])
    if "ca_file" in upstream:
        upstream["ca_file"] = Path(upstream["ca_file"])
    trusted = tuple(ip_network(network) for network in description.get("trusted", ()))
    return Proxy(Upstream(**upstream), Server(trusted_proxies=trusted), "gateway.example")
