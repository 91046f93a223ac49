"""The addresses of the demo's parts, and the sockets that the sample sites listen on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from dataclasses import dataclass

from gateway.server.listener import CannotListen

_LOOPBACK = "127.0.0.1"
_BACKEND_PORT = 8080


@dataclass(frozen=True, slots=True)
class Addresses:
    """The origins of the gateway, the sample client and the sample backend."""

    issuer: str
    client: str
    backend: str

    @property
    def redirect_uri(self) -> str:
        """The URI at which the sample client is registered to receive codes."""
        return f"{self.client}/oauth_code"


@dataclass(frozen=True, slots=True)
class Listeners:
    """Listening sockets of the two sample sites, bound before anything is started."""

    client: socket.socket
    backend: socket.socket

    def addresses(self, gateway_port: int) -> Addresses:
        """Return the addresses that belong to these sockets."""
        client_port, backend_port = (
            listener.getsockname()[1] for listener in (self.client, self.backend)
        )
        return Addresses(
            issuer=f"http://localhost:{gateway_port}",
            client=f"http://localhost:{client_port}",
            backend=f"http://{_LOOPBACK}:{backend_port}",
        )

    def close(self) -> None:
        """Close this process's copies; a child process that inherited them goes on listening."""
        self.client.close()
        self.backend.close()


def listen(gateway_port: int, client_port: int, backend_port: int | None) -> Listeners:
    """Bind the ports of the two sample sites, and check that the gateway's port is free.

    The ports of the gateway and the client are part of registered URIs, so no other ones will do.
    If ``backend_port`` is ``None``, the backend gets port 8080 or, if that is in use, any other.
    Raises CannotListen.
    """
    if gateway_port == client_port:
        raise CannotListen(f"--port and --client-port are both {gateway_port}")
    with contextlib.ExitStack() as sockets:
        # The gateway's port stays bound until the others are, so that none of them gets it.
        with _bind_localhost(gateway_port, "--port", "gateway"):
            client = sockets.enter_context(
                _bind_localhost(client_port, "--client-port", "sample client")
            )
            if backend_port is None:
                backend = _bind_any_backend_port()
            else:
                backend = _bind(backend_port, "--backend-port", "sample backend")
        sockets.pop_all()
    for listener in (client, backend):
        listener.listen()
    return Listeners(client, backend)


def _bind_localhost(port: int, option: str, site: str) -> socket.socket:
    """Bind a port on IPv4, and check that no other program has it on ``::1``.

    Browsers look for ``localhost`` at ``::1`` first, and would reach that other program.
    """
    listener = _bind(port, option, site)
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("::1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                listener.close()
                raise _cannot_listen(port, option, site, error) from None
    return listener


def _bind(port: int, option: str, site: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET)
    # Connections of an earlier run that are still closing do not keep the port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise _cannot_listen(port, option, site, error) from None
    return listener


def _bind_any_backend_port() -> socket.socket:
    try:
        return _bind(_BACKEND_PORT, "--backend-port", "sample backend")
    except CannotListen:
        return _bind(0, "--backend-port", "sample backend")


def _cannot_listen(port: int, option: str, site: str, error: OSError) -> CannotListen:
    reason = (
        "is in use by another program"
        if error.errno == errno.EADDRINUSE
        else f"cannot be used: {os.strerror(error.errno or 0)}"
    )
    return CannotListen(f"port {port} for the {site} {reason}; choose another one with {option}")
