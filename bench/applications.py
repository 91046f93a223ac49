"""The measured application: bare, wrapped, and behind the proxy, all under the same server."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from gateway import OAuthGateway, create_app, load_config

_BODY = b"x" * 100


def bare(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Respond with a hundred bytes."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "100")])
    return [_BODY]


def __getattr__(name: str) -> Any:
    # Only the worker that needs it builds it.
    config = os.environ["GATEWAY_CONFIG"]
    if name == "wrapped":
        return OAuthGateway(bare, load_config(config))
    if name == "proxied":
        return create_app(config)
    raise AttributeError(name)
