"""Where the parts of the demo are, and the sockets that the sample sites listen on."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from dataclasses import dataclass

from gateway.server.standalone import CannotListen

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
        """Where the sample client is registered to take codes."""
        return f"{self.client}/oauth_code"


@dataclass(frozen=True, slots=True)
class Listeners:
    """Listening sockets of the two sites. Their ports are had before anything is started."""

    client: socket.socket
    backend: socket.socket

    def addresses(self, gateway_port: int) -> Addresses:
        """Return the addresses that go with these sockets."""
        client_port, backend_port = (
            listener.getsockname()[1] for listener in (self.client, self.backend)
        )
        return Addresses(
            issuer=f"http://localhost:{gateway_port}",
            client=f"http://localhost:{client_port}",
            backend=f"http://{_LOOPBACK}:{backend_port}",
        )

    def close(self) -> None:
        """Close this process's copies; a child that inherited them goes on listening."""
        self.client.close()
        self.backend.close()


def listen(gateway_port: int, client_port: int, backend_port: int | None) -> Listeners:
    """Take the two sites' ports, and see that the gateway's is free.

    The gateway's and the client's are part of registered URIs, so these very ones are needed.
    With ``backend_port`` of ``None`` the usual one is taken, or any other. Raises CannotListen.
    """
    if gateway_port == client_port:
        raise CannotListen(f"--port and --client-port are both {gateway_port}")
    with contextlib.ExitStack() as taken:
        # Held until the others are chosen, so that none of them is this one.
        with _named(gateway_port, "--port", "gateway"):
            client = taken.enter_context(_named(client_port, "--client-port", "sample client"))
            if backend_port is None:
                backend = _any_backend_port()
            else:
                backend = _bound(backend_port, "--backend-port", "sample backend")
        taken.pop_all()
    for listener in (client, backend):
        listener.listen()
    return Listeners(client, backend)


def _named(port: int, option: str, what: str) -> socket.socket:
    """Take a port that browsers look for at ``localhost``."""
    bound = _bound(port, option, what)
    # Browsers try ::1 first where a machine has it, and would end up at somebody else's.
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as neighbour:
        neighbour.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            neighbour.bind(("::1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                bound.close()
                raise _in_the_way(port, option, what, error) from None
    return bound


def _bound(port: int, option: str, what: str) -> socket.socket:
    bound = socket.socket(socket.AF_INET)
    # Connections of an earlier run that are still closing are not in the way.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((_LOOPBACK, port))
    except OSError as error:
        bound.close()
        raise _in_the_way(port, option, what, error) from None
    return bound


def _any_backend_port() -> socket.socket:
    try:
        return _bound(_BACKEND_PORT, "--backend-port", "sample backend")
    except CannotListen:
        return _bound(0, "--backend-port", "sample backend")


def _in_the_way(port: int, option: str, what: str, error: OSError) -> CannotListen:
    why = (
        "is in use by another program"
        if error.errno == errno.EADDRINUSE
        else f"cannot be had: {os.strerror(error.errno or 0)}"
    )
    return CannotListen(f"port {port} for the {what} {why}; choose another one with {option}")
