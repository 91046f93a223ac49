"""The client's own socket, where the WSGI server shows it: its time limits, and its end.

WSGI tells an application that its client left only when the application writes to it. While the
application writes nothing, as on a silent event stream, it has to look at the socket itself.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from wsgiref.types import WSGIEnvironment

#: The environ key of a context manager of the gateway's own server. It takes seconds, limits all
#: that is done within it, and raises TimeoutError.
WITHIN = "gateway.within"

#: The environ key of the header lines as they came, names in upper case. WSGI itself joins the
#: lines of one name.
HEADER_LINES = "gateway.header_lines"

#: The environ key of a function of the gateway's own server. The proxy calls it when a request
#: waits for a connection to the backend: slow uploads may hold them all.
SHED_SLOW_BODIES = "gateway.shed_slow_bodies"

#: The environ key of a function of the gateway's own server that sends an interim response, such
#: as 103 Early Hints, to a client that speaks HTTP/1.1.
SEND_INTERIM = "gateway.send_interim"

#: The environ key of a function of the gateway's middleware: whether the token that a request was
#: allowed with is not revoked since.
STILL_ALLOWED = "gateway.still_allowed"

#: The environ key of the names of the header fields as the client wrote them, by environ key.
FIELD_NAMES = "gateway.field_names"

#: TCP_INFO begins with the connection's state; 1 is ESTABLISHED in every Linux.
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_ESTABLISHED = 1


def client_socket(environ: WSGIEnvironment) -> socket.socket | None:
    """Return the socket of the request's client, ``None`` where the server does not show it."""
    sock: socket.socket | None = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return sock


@contextmanager
def time_to_send(environ: WSGIEnvironment, seconds: float) -> Iterator[None]:
    """Give the client ``seconds`` to send what is read within; raises TimeoutError after that.

    The gateway's own server limits the whole of it. A server that shows its socket limits the
    time between two bytes. Any other server has limits of its own.
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
    with limit_silence(client, seconds):
        yield


@contextmanager
def limit_silence(client: socket.socket, seconds: float) -> Iterator[None]:
    """Let every wait for the client within last ``seconds`` at most; then it is a TimeoutError."""
    before = client.gettimeout()
    client.settimeout(seconds)
    try:
        yield
    finally:
        # The socket may be closed by now.
        with suppress(OSError):
            client.settimeout(before)


def probe_end(client: socket.socket) -> bool:
    """Look whether the client closed its side; only for a socket that is readable.

    On Linux the kernel tells the state of the connection, so bytes that wait to be read, such as
    a pipelined request, do not hide the end. Elsewhere, and on unix sockets, only an end without
    such bytes before it is seen.
    """
    try:
        if _TCP_INFO is not None and client.family in (socket.AF_INET, socket.AF_INET6):
            return client.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] != _ESTABLISHED
        if isinstance(client, ssl.SSLSocket):
            # The readable bytes are ciphertext. Taking one would break the stream.
            return False
        return client.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
