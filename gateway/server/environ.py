"""The WSGI environ of a client's request (PEP 3333), as the standalone server builds it.

The client decides the request and nothing else: no header sets the scheme, splits the path into
SCRIPT_NAME and PATH_INFO, or changes the peer's address.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import unquote_to_bytes

import gevent
from gunicorn.http import wsgi

from gateway.http.bounded_cache import BoundedCache
from gateway.http.client_socket import FIELD_NAMES, HEADER_LINES, WITHIN
from gateway.server.request import ClientRequest

Environ = dict[str, Any]


def _time_limit(seconds: float) -> gevent.Timeout:
    return gevent.Timeout(seconds, TimeoutError)


def environ_of_server(cfg: Any) -> Environ:
    """Return the part that every request shares; ``cfg`` are gunicorn's settings."""
    return {
        **wsgi.base_environ(cfg),
        "wsgi.multithread": True,
        "SCRIPT_NAME": "",
        WITHIN: _time_limit,
    }


class _EnvironKeys(BoundedCache[str]):
    """From a header's name to its key in the environ."""

    def compute(self, name: str) -> str:
        key = name.replace("-", "_")
        return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


_KEYS = _EnvironKeys()


def environ_of(
    request: ClientRequest, client: socket.socket, peer: Any, listener: Any, server: Environ
) -> Environ:
    """Return the environ of one request.

    ``peer`` and ``listener`` are addresses as the sockets give them. ``server`` is the result of
    :func:`environ_of_server`.
    """
    headers = request.headers
    names: dict[str, str] = {}
    environ = {
        **server,
        "wsgi.input": request.body,
        "wsgi.url_scheme": request.scheme,
        "gunicorn.socket": client,
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.uri,
        "PATH_INFO": _decode(request.path),
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": "HTTP/{}.{}".format(*request.version),
        HEADER_LINES: headers,
        FIELD_NAMES: names,
    }
    repeated: dict[str, list[str]] = {}
    for (name, value), written in zip(headers, request.names, strict=True):
        key = _KEYS[name]
        if key in environ:
            repeated.setdefault(key, [environ[key]]).append(value)
        else:
            environ[key] = value
            names[key] = written
    for key, values in repeated.items():
        # A repeated field becomes one: RFC 9110 §5.3, and RFC 9113 §8.2.3 for cookies.
        environ[key] = ("; " if key == "HTTP_COOKIE" else ",").join(values)
    if isinstance(peer, tuple):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peer[0], str(peer[1])
    else:
        environ["REMOTE_ADDR"] = ""
    environ["SERVER_NAME"], environ["SERVER_PORT"] = _server_name_and_port(listener, environ)
    return environ


def _decode(path: str) -> str:
    return unquote_to_bytes(path).decode("latin-1") if "%" in path else path


def _server_name_and_port(listener: Any, environ: Environ) -> tuple[str, str]:
    if isinstance(listener, tuple):
        return listener[0], str(listener[1])
    # A unix socket has neither; the Host header says which server the client wants.
    host, _, port = environ.get("HTTP_HOST", "").partition(":")
    return host, port or "80"
