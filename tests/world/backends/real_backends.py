"""Applications that nobody here wrote, on their own and behind a gateway."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import requests
from flask import Flask
from werkzeug import http
from werkzeug.datastructures import Authorization

from gateway import OAuthGateway, load_config
from tests.support.oauth_client import Client
from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import SERVICE_SECRET, running_gateway, write_settings

FOLDER = "TESTS_STATIC_FOLDER"
_HOST = "backend.test"
LARGE = Random(7).randbytes(8 * 1024 * 1024)


#: What a server says of itself or of its connection, and not of the answer.
_OF_THE_SERVER = frozenset({"connection", "date", "keep-alive", "server", "via"})


def static_files() -> Flask:
    """Return an application that serves a folder and nothing else."""
    return Flask("static files", static_folder=os.environ[FOLDER], static_url_path="/files")


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


def told(answer: requests.Response) -> tuple[int, str, Counter[tuple[str, str]]]:
    """Return an answer's status and reason, and its headers, each as often as it came."""
    fields = Counter(
        (name.lower(), value)
        for name, value in answer.raw.headers.items()
        if name.lower() not in _OF_THE_SERVER
    )
    return answer.status_code, answer.reason, fields
