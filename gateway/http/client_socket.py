"""The client's own socket, where the WSGI server shows it: its times, and whether it has left.

WSGI tells an application that its client left only when something is written to it. While
nothing is written, as on a silent event stream, the socket itself has to be looked at.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from wsgiref.types import WSGIEnvironment

#: Where the gateway's own server puts a context manager that takes seconds and bounds all that
#: is done within it; it raises TimeoutError.
WITHIN = "gateway.within"

#: Where it puts the header lines as they came, in upper case: WSGI joins those of one name.
HEADER_LINES = "gateway.header_lines"

#: The environ key of a function of the gateway's own server. The proxy calls it when a request
#: waits for a connection to the backend: slow uploads may hold them all.
SHED_SLOW_BODIES = "gateway.shed_slow_bodies"

#: The environ key of the names of the header fields as the client wrote them, by environ key.
FIELD_NAMES = "gateway.field_names"

#: TCP_INFO begins with the connection's state; 1 is ESTABLISHED in every Linux.
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_ESTABLISHED = 1


def client_socket(environ: WSGIEnvironment) -> socket.socket | None:
    """Give the socket of the request's client, or ``None`` where the server keeps it."""
    found: socket.socket | None = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return found


@contextmanager
def time_to_send(environ: WSGIEnvironment, seconds: float) -> Iterator[None]:
    """Give the client ``seconds`` to send what is read within; raises TimeoutError after that.

    The gateway's own server bounds all of it together, one that shows its socket the time
    between two bytes, and any other server has limits of its own.
    """
    within = environ.get(WITHIN)
    if within is not None:
        with within(seconds):
            yield
        return
    client = client_socket(environ)
    if client is None:
        yield
        return
    with silence_bounded(client, seconds):
        yield


@contextmanager
def silence_bounded(client: socket.socket, seconds: float) -> Iterator[None]:
    """Let every wait for the client within last ``seconds`` at most; then it is a TimeoutError."""
    before = client.gettimeout()
    client.settimeout(seconds)
    try:
        yield
    finally:
        # It may have been closed meanwhile.
        with suppress(OSError):
            client.settimeout(before)


def has_left(client: socket.socket) -> bool:
    """Whether the client closed its side; only for a socket that is readable.

    Bytes that wait to be read, such as a pipelined request, do not hide the end on Linux,
    because the kernel is asked for the state of the connection. Elsewhere, and on unix
    sockets, only an end without such bytes before it is seen.
    """
    try:
        if _TCP_INFO is not None and client.family in (socket.AF_INET, socket.AF_INET6):
            return client.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] != _ESTABLISHED
        if isinstance(client, ssl.SSLSocket):
            return False  # what is readable is ciphertext, and taking it would break the stream
        return client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
