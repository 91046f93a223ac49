"""The WSGI environ of a client's request (PEP 3333), as the standalone server gives it.

Nothing in it is taken from the client's word but the request itself: no header sets the scheme,
the path's division or the address of the peer.
"""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import unquote_to_bytes

import gevent
from gunicorn.http import wsgi

from gateway.http.bounded_cache import BoundedCache
from gateway.http.client_socket import HEADER_LINES, WITHIN
from gateway.server.request import ClientRequest

Environ = dict[str, Any]


def _within(seconds: float) -> gevent.Timeout:
    return gevent.Timeout(seconds, TimeoutError)


def environ_of_server(cfg: Any) -> Environ:
    """Return what is the same for every request; ``cfg`` are gunicorn's settings."""
    return {
        **wsgi.base_environ(cfg),
        "wsgi.multithread": True,
        "SCRIPT_NAME": "",
        WITHIN: _within,
    }


class _Keys(BoundedCache[str]):
    def compute(self, name: str) -> str:
        key = name.replace("-", "_")
        return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


_KEYS = _Keys()


def environ_of(
    request: ClientRequest, client: socket.socket, peer: Any, listener: Any, server: Environ
) -> Environ:
    """Return the environ of one request.

    ``peer`` and ``listener`` are addresses as the sockets give them, ``server`` what
    :func:`environ_of_server` returned.
    """
    headers = request.headers
    environ = {
        **server,
        "wsgi.input": request.body,
        "wsgi.url_scheme": request.scheme,
        "gunicorn.socket": client,
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.uri,
        "PATH_INFO": _decoded(request.path),
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": "HTTP/{}.{}".format(*request.version),
        HEADER_LINES: headers,
    }
    repeated: dict[str, list[str]] = {}
    for name, value in headers:
        key = _KEYS[name]
        if key in environ:
            repeated.setdefault(key, [environ[key]]).append(value)
        else:
            environ[key] = value
    for key, values in repeated.items():
        # RFC 9110 §5.3, and RFC 9113 §8.2.3 for cookies.
        environ[key] = ("; " if key == "HTTP_COOKIE" else ",").join(values)
    if isinstance(peer, tuple):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peer[0], str(peer[1])
    else:
        environ["REMOTE_ADDR"] = ""
    environ["SERVER_NAME"], environ["SERVER_PORT"] = _server(listener, environ)
    return environ


def _decoded(path: str) -> str:
    return unquote_to_bytes(path).decode("latin-1") if "%" in path else path


def _server(listener: Any, environ: Environ) -> tuple[str, str]:
    if isinstance(listener, tuple):
        return listener[0], str(listener[1])
    # A unix socket has neither; the client says whom it wants to reach.
    host, _, port = environ.get("HTTP_HOST", "").partition(":")
    return host, port or "80"
