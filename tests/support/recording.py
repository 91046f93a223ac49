"""A gateway before a backend that notes all that reaches it, and has sessions of its own."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from wsgiref.types import StartResponse, WSGIEnvironment

from gateway import OAuthGateway, load_config
from tests.support.echo import EchoHandler, echo_app
from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import RunningGateway, running_gateway, write_settings

WHO = "/api/method/frappe.auth.get_logged_user"


@dataclass(frozen=True)
class Reached:
    """A request that reached the backend. ``target`` is raw if the gateway is standalone."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Recorded:
    """A gateway, and the notes of the backend behind it."""

    gateway: RunningGateway
    notes: Path

    def reached(self) -> list[Reached]:
        """Return what has reached the backend since the last call."""
        text = self.notes.read_text() if self.notes.exists() else ""
        self.notes.unlink(missing_ok=True)
        return [_reached(json.loads(line)) for line in text.splitlines()]


def session_cookie(answer: object, status: int = 200) -> str:
    """Return the Cookie of a session about which the backend says ``answer`` when asked."""
    return f"sid={status}{quote(json.dumps(answer), safe='')}"


@contextmanager
def recorded_gateway(mode: str, folder: Path, **settings: Any) -> Iterator[Recorded]:
    """Run a gateway, ``wrapped`` or ``standalone``, in front of the backend of this module.

    ``settings`` are those of :func:`~tests.support.running_gateway.write_settings`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notes = folder / "notes"
    if mode == "standalone":
        with (
            _backend(notes) as upstream,
            running_gateway(mode, folder, upstream=upstream, **settings) as gateway,
        ):
            yield Recorded(gateway, notes)
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = write_settings(folder, port=port, **settings)
    log = folder / "gateway.log"
    server = ("--bind", f"127.0.0.1:{port}", "--threads", "16", "--no-control-socket")
    with running(
        python_module("gunicorn", *server, "tests.support.recording:wrapped()"),
        log=log,
        ready=f"{url}/oauth/health",
        environ={"GATEWAY_CONFIG": str(config), "NOTES": str(notes)},
    ):
        gateway = RunningGateway(mode, url, config, folder / "data", folder / "audit.log", log)
        yield Recorded(gateway, notes)


def wrapped() -> OAuthGateway:
    """Return the recording application in a gateway, for a WSGI server that a test starts."""
    notes = Path(os.environ["NOTES"])

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        echoed = json.loads(b"".join(echo_app(environ, lambda *_: lambda _: None)))
        status, content = _answered(notes, echoed, echoed["target"])
        start_response(
            f"{status} Recorded",
            [("Content-Type", "application/json"), ("Content-Length", str(len(content)))],
        )
        return [content]

    return OAuthGateway(app, load_config(os.environ["GATEWAY_CONFIG"]))


@contextmanager
def _backend(notes: Path) -> Iterator[str]:
    class Handler(EchoHandler):
        def _answer(self, members: dict[str, Any]) -> None:
            # http.server takes two slashes at the beginning of self.path for one.
            target = self.requestline.split(" ")[1]
            headers = [list(header) for header in members["headers"]]
            status, content = _answered(notes, {**members, "headers": headers}, target)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    ThreadingHTTPServer.daemon_threads = True
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def _answered(notes: Path, members: dict[str, Any], target: str) -> tuple[int, bytes]:
    members["target"] = target
    with notes.open("a") as file:
        file.write(json.dumps(members) + "\n")
    if target.partition("?")[0] != WHO:
        return 200, json.dumps(members).encode()
    cookies = "; ".join(value for name, value in members["headers"] if name == "Cookie")
    session = SimpleCookie(cookies).get("sid")
    if session is None:
        return 200, b'{"message": "Guest"}'
    return int(session.value[:3]), unquote(session.value[3:]).encode()


def _reached(members: dict[str, Any]) -> Reached:
    headers = tuple((name, value) for name, value in members["headers"])
    return Reached(members["method"], members["target"], headers)
