"""The process of the two sample sites; it ends when the demo does, however that ends.

``python -m gateway.demo.sites ISSUER CLIENT BACKEND CLIENT_FD BACKEND_FD``: three origins, and
the file descriptors of two listening sockets. Standard input is a pipe that nobody writes to;
its end is the end of the demo.
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
    # Otherwise a small answer waits for the acknowledgement of its own headers.
    disable_nagle_algorithm = True
    # Of a connection on which nothing comes, in seconds.
    timeout = 60

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: the terminal is for what the demo has printed."""


def main() -> None:
    """Serve both sites until standard input ends."""
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
