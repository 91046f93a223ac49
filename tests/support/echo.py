"""A backend that answers with what it got, header by header, as JSON; and its WSGI twin.

It sets the cookie that the request header ``Please-Set-Cookie`` has.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment


class EchoHandler(BaseHTTPRequestHandler):
    """Echoes the request line, every header as often as it came, and the body."""

    protocol_version = "HTTP/1.1"

    def _echo(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(
            {
                "method": self.command,
                "target": self.path,
                "headers": self.headers.items(),
                "body": body.decode("latin-1"),
            }
        )

    def _answer(self, members: dict[str, Any]) -> None:
        content = json.dumps(members).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if "Please-Set-Cookie" in self.headers:
            self.send_header("Set-Cookie", self.headers["Please-Set-Cookie"])
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _echo
    do_COPY = do_MOVE = _echo  # WebDAV, RFC 4918

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Stay silent."""


def echo_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Answer as EchoHandler does, with what a wrapped application sees."""
    headers = [
        (key[5:].replace("_", "-").title(), value)
        for key, value in environ.items()
        if key.startswith("HTTP_")
    ]
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    token = environ.get("gateway.token")
    query = environ.get("QUERY_STRING", "")
    content = json.dumps(
        {
            "method": environ["REQUEST_METHOD"],
            "target": environ["PATH_INFO"] + (f"?{query}" if query else ""),
            "headers": headers,
            "body": body.decode("latin-1"),
            "remote_user": environ.get("REMOTE_USER"),
            "token": repr(token) if token else None,
        }
    ).encode()
    cookie = environ.get("HTTP_PLEASE_SET_COOKIE")
    start_response(
        "200 OK",
        [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(content))),
            *([("Set-Cookie", cookie)] if cookie else []),
        ],
    )
    return [content]


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), EchoHandler).serve_forever()
