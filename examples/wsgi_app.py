"""A WSGI application with the gateway around it, for any WSGI server.

GATEWAY_CONFIG=/etc/oauth-gateway/gateway.toml gunicorn --bind 127.0.0.1:8000 wsgi_app:app
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from gateway import OAuthGateway, load_config


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Greet the user; put your own Flask, Django or other application in its place."""
    user = environ.get("REMOTE_USER", "nobody")
    body = f"Hello, {user}. This is {environ['PATH_INFO']}.\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


app = OAuthGateway(application, load_config(os.environ.get("GATEWAY_CONFIG", "gateway.toml")))
