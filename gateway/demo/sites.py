"""The process of the two sample sites. It exits when the demo exits, even if that is killed.

``python -m gateway.demo.sites ISSUER CLIENT BACKEND CLIENT_FD BACKEND_FD``: three origins, and
the file descriptors of two listening sockets. Standard input is a pipe that nobody writes to: the
pipe closes when the demo's process exits.
"""

from __future__ import annotations

import sys
from threading import Thread

from werkzeug.serving import WSGIRequestHandler, make_server

from gateway.demo.addresses import Addresses
from gateway.demo.backend import SampleBackend
from gateway.demo.client import SampleClient
from gateway.demo.pages import Pages


class _Handler(WSGIRequestHandler):
    # Otherwise the body of a small response waits for the acknowledgement of its headers.
    disable_nagle_algorithm = True
    # A connection on which nothing comes closes after this many seconds.
    timeout = 60

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Write nothing: the terminal shows what the demo has printed."""


def main() -> None:
    """Serve both sites until standard input closes."""
    issuer, client, backend, client_fd, backend_fd = sys.argv[1:]
    addresses = Addresses(issuer, client, backend)
    pages = Pages()
    for site, descriptor in (
        (SampleClient(addresses, pages), client_fd),
        (SampleBackend(addresses, pages), backend_fd),
    ):
        server = make_server(
            "127.0.0.1", 0, site, threaded=True, request_handler=_Handler, fd=int(descriptor)
        )
        Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
