"""The process that serves connections: gunicorn's gevent worker, with what a proxy needs besides.

- The worker exits without dropping a request. It answers the requests in flight and tells their
  clients to close. A client whose connection is kept alive cannot know yet, so its next request is
  still answered for a moment.
- A client that waits keeps nobody out. While all connections are in use, idle ones close soon,
  slow bodies are refused, and every response closes its connection, so that every client gets a
  turn. A tenth more connections are accepted then, for the requests of the others.
- A client that takes nothing of its response is cut off.
- A client that sends requests without a pause gets its turn and no more.
- The modules beside this one read requests and write responses. gunicorn's own code for that took
  more than half of the server's time (docs/benchmarks.md).
"""

from __future__ import annotations

import errno
import gc
import math
import signal
import socket
import warnings
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from itertools import count
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event
from gevent.monkey import MonkeyPatchWarning
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.ggevent import GeventWorker

from gateway.http.client_socket import SEND_INTERIM, SHED_SLOW_BODIES
from gateway.http.keepalive import notice_dead_peer
from gateway.proxy.upstream_response import InterimResponse
from gateway.server.connection import SHORTEST_SLEEP, Connection
from gateway.server.environ import environ_of, environ_of_server
from gateway.server.error_response import environ_of_refused, error_response
from gateway.server.parse_errors import status_of
from gateway.server.request import ClientRequest
from gateway.server.response import ClientResponse, interim_head
from gateway.server.waiting import CROWDED, FULL, Patience, Waiting

#: When the worker exits, a kept-alive connection has this long for one more request.
LAST_REQUEST_SECONDS = 0.5
#: Workers exit by themselves; the master waits this much longer than they may take.
MASTER_EXTRA_SECONDS = 2

#: The signals that tell a worker to exit, gracefully or at once.
WORKER_SIGNALS = frozenset({signal.SIGTERM, signal.SIGQUIT, signal.SIGINT})

#: After this many requests of one connection, the other connections get a turn.
_REQUESTS_PER_TURN = 16

_DISCONNECTED = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})

#: When the configured connections are in use, one for each of these many is accepted still.
_CONNECTIONS_PER_EXTRA = 10
#: A worker counts as crowded for this long after a request had to wait for the backend's pool.
_CROWDED_SECONDS = 5.0
#: A client may take this long to accept the next byte of its response.
SEND_SECONDS = 60.0
_CHECK_SECONDS = 1.0
_CHECK_SECONDS_AT_EXIT = 0.05


def most_connections(configured: int) -> int:
    """Return how many connections a worker accepts, when all the configured ones are in use."""
    return configured + 1 + configured // _CONNECTIONS_PER_EXTRA


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of the standalone gateway."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting = Waiting()
        self._crowded_until = 0.0
        self._looked_at = 0.0
        #: Set when the worker has to look at its connections at once, and at the exit.
        self._wake: Event | None = None

    def patch(self) -> None:
        """Let gevent replace what blocks, before the application is built."""
        with warnings.catch_warnings():
            # The warning is about classes that were imported from ssl before; the master has
            # imported ssl, but nothing here uses such a class.
            warnings.simplefilter("ignore", MonkeyPatchWarning)
            super().patch()

    def init_process(self) -> None:
        """Start, in the new process."""
        # gunicorn looks up its settings through __getattr__, dozens of times for a request.
        self.cfg.__dict__.update((name, each.get()) for name, each in self.cfg.settings.items())
        super().init_process()

    def init_signals(self) -> None:
        """Install the handlers of the master's signals."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)

    def run(self) -> None:
        """Serve until told to exit, then finish the requests in flight."""
        # Objects that exist now live as long as the worker, so the collector may skip them.
        gc.collect()
        gc.freeze()
        self._wake = Event()
        self._environ = {
            **environ_of_server(self.cfg),
            SHED_SLOW_BODIES: self._shed_slow_bodies,
        }
        self._pool = Pool(most_connections(self.worker_connections))
        servers = [self._listen(listener) for listener in self.sockets]
        while self.alive:
            self.notify()
            patience = self._patience()
            self._waiting.end(patience)
            self._looked_at = monotonic()
            self._wake.wait(patience.check)
            self._wake.clear()
        for server in servers:
            self._accept_pending(server)
            server.close()
        self._finish_requests()

    def handle_exit(self, sig: int, frame: object) -> None:
        """Exit, on SIGTERM."""
        super().handle_exit(sig, frame)
        if self._wake is not None:
            self._wake.set()

    def handle(self, listener: Any, client: socket.socket, peer: Any) -> None:
        """Serve a connection, one request after the other, until either side closes it.

        ``listener`` and ``peer`` are addresses, as their sockets give them.
        """
        client.setblocking(True)
        connection = Connection(client, self._waiting)
        if self._is_crowded():
            self._look_soon()
        try:
            self._serve(connection, listener, peer)
        except (NoMoreData, gevent.GreenletExit):
            self.log.debug("a connection has ended")
        except OSError as error:
            if error.errno not in _DISCONNECTED:
                self.log.exception("Socket error processing request.")
        except BaseException as error:  # noqa: BLE001 - whatever it is, only this connection ends
            self._send_error(error, connection, peer)
        finally:
            util.close(client)

    def _serve(self, connection: Connection, listener: Any, peer: Any) -> None:
        for number in count(1):
            request = None
            with connection.idle():
                request = ClientRequest(self.cfg, connection.stream, peer)
            if request is None or not self._respond(request, connection, peer, listener):
                return
            if number % _REQUESTS_PER_TURN == 0:
                # If its socket never runs dry, no read gives another greenlet a turn.
                gevent.sleep(SHORTEST_SLEEP)

    def _respond(
        self, request: ClientRequest, connection: Connection, peer: Any, listener: Any
    ) -> bool:
        """Answer one request (PEP 3333), and return whether the connection may carry another one.

        Raises OSError if the connection breaks. Any other error comes through only while no byte
        of the response has been sent, so that the caller can still send one.
        """
        environ = environ_of(request, connection.sock, peer, listener, self._environ)
        connection.environ = environ
        if request.version >= (1, 1):
            environ[SEND_INTERIM] = partial(_send_interim, connection)
        if request.raw_body is not None:
            connection.begin_body(request.raw_body, awaits_continue=request.expects_100_continue)
        response = ClientResponse(request, connection, partial(self._must_close, connection))
        try:
            # Not a function of its own: one frame more costs each open stream a page of memory.
            body = self.wsgi(environ, response.start_response)
            try:
                for piece in body:
                    response.write(piece)
                response.close()
            finally:
                if hasattr(body, "close"):
                    body.close()
        except (OSError, gevent.GreenletExit):
            raise
        except Exception:
            if not response.headers_sent:
                raise
            # A second head cannot be sent, and the broken body must not look complete.
            self.log.exception("Error handling request")
            return False
        if response.closes:
            return False
        return request.raw_body is None or connection.drain(request.body, request.raw_body)

    def _send_error(self, error: BaseException, connection: Connection, peer: Any) -> None:
        """Answer a request that could not be parsed or served."""
        status = status_of(error)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("Error handling request", exc_info=error)
        else:
            self.log.warning(
                "refused a request of %s: %s",
                peer[0] if isinstance(peer, tuple) else "a unix socket",
                type(error).__name__,
            )
        if connection.head_sent:
            # The client would take these bytes for the rest of the response that broke off.
            return
        environ = connection.environ or environ_of_refused(connection.stream.head)
        with suppress(Exception):
            connection.send(error_response(status, environ))
            # The client may still be sending, and should see the response all the same.
            connection.linger()

    def _must_close(self, connection: Connection) -> bool:
        """Tell whether the response closes the connection although the client would keep it."""
        exiting = not self.alive or connection.closing_since > 0
        return exiting or self._is_crowded() or connection.awaits_continue

    def _is_crowded(self) -> bool:
        """Whether as many connections are in use as are configured, or more."""
        return len(self._pool) >= int(self.worker_connections)

    def _shed_slow_bodies(self) -> None:
        """Refuse slow bodies for a while: a request waits for a connection that they may hold."""
        self._crowded_until = monotonic() + _CROWDED_SECONDS

    def _look_soon(self) -> None:
        """Let the worker look at its connections, but not after every new one."""
        if self._wake is not None and monotonic() - self._looked_at >= FULL.check:
            self._wake.set()

    def _patience(self) -> Patience:
        """Return how long the clients may take now."""
        if self._pool.full():
            return FULL
        if self._is_crowded():
            return CROWDED
        body = CROWDED.body if monotonic() < self._crowded_until else math.inf
        return Patience(self.cfg.keepalive, SEND_SECONDS, body, _CHECK_SECONDS)

    def _listen(self, listener: socket.socket) -> StreamServer:
        listener.setblocking(True)
        if listener.family != socket.AF_UNIX:
            notice_dead_peer(listener)
        handle = partial(self.handle, listener.getsockname())
        server = StreamServer(listener, handle=handle, spawn=self._pool)
        if self.cfg.workers > 1:
            server.max_accept = 1
        server.start()
        return server

    def _accept_pending(self, server: StreamServer) -> None:
        """Accept the connections that clients have opened; closing the listener resets the rest."""
        try:
            while not server.full() and (accepted := server.do_read()):
                server.do_handle(*accepted)
        except OSError as error:
            # Too many open files, for example. The requests in flight are finished all the same.
            self.log.warning("connections that waited are lost: %s", error.strerror)

    def _finish_requests(self) -> None:
        """Answer the requests in flight, for as long as ``server.graceful_seconds``."""
        started = monotonic()
        deadline = started + self.cfg.graceful_timeout - MASTER_EXTRA_SECONDS
        while len(self._pool) and (now := monotonic()) < deadline:
            self.notify()
            if now - started >= LAST_REQUEST_SECONDS:
                self._waiting.close_idle(LAST_REQUEST_SECONDS)
            self._waiting.cut_off_stalled(SEND_SECONDS)
            gevent.sleep(_CHECK_SECONDS_AT_EXIT)
        if len(self._pool):
            self.log.warning(
                "%d connections are cut off, they took too long to end", len(self._pool)
            )
            self._pool.kill(timeout=1)


def _send_interim(connection: Connection, interim: InterimResponse) -> None:
    connection.send(interim_head(interim))
    # The response itself is still to come.
    connection.head_sent = False
