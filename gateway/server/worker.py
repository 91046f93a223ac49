"""The process that serves the connections: gunicorn's gevent worker, and what it lacks for a proxy.

- It ends without dropping a request. Those in flight are answered, and their clients told to
  close. A client that keeps its connection alive gets a moment in which its next request is
  still answered, because it cannot know yet.
- A connection that waits is in nobody's way: while all of them are taken, those that wait for
  a request end soon, and every answer ends its connection, so that all clients have a turn.
- A client that takes nothing of its answer is given up.
- A client that asks without end has its turn, and no more than that.
- Requests are read, and answers written, by the modules beside this one: what gunicorn has for
  that took more than half of the server's time (docs/benchmarks.md).
"""

from __future__ import annotations

import errno
import gc
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
from gevent.hub import get_hub
from gevent.monkey import MonkeyPatchWarning
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.http.errors import NoMoreData
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.ggevent import GeventWorker

from gateway.server.connection import SHORTEST_SLEEP, Connection, GivenUpError, InvitedBody
from gateway.server.environ import environ_of, environ_of_server
from gateway.server.parse_errors import status_of
from gateway.server.request import ClientRequest
from gateway.server.response import ClientResponse

#: A connection may wait so long for a request, whole head included. Longer than the 60 s for
#: which most load balancers keep theirs, so that they close first and no request is crossed.
KEEP_ALIVE_SECONDS = 75
#: A client may take so long over the next byte of its answer.
SEND_SECONDS = 60
#: When the worker ends, a kept-alive connection has so long for one more request.
LAST_REQUEST_SECONDS = 0.5
#: The master waits so much longer than its workers, which end by themselves.
MASTER_EXTRA_SECONDS = 2

#: What tells a worker to end, kindly or at once.
WORKER_SIGNALS = frozenset({signal.SIGTERM, signal.SIGQUIT, signal.SIGINT})

#: After so many requests of one connection, all others have their turn.
_REQUESTS_A_TURN = 16

_CLIENT_HAS_LEFT = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})

#: While there is no free connection, one that waits for a request ends after so long.
_WAIT_SECONDS_WHEN_FULL = 1.0
#: What hanging up does not end, because the client goes on sending, ends so much later.
_HANG_UP_SECONDS = 1.0
_LOOK_SECONDS = 1.0
_LOOK_SECONDS_WHILE_ENDING = 0.05


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of the standalone gateway."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: Those that wait for a request, the longest first.
        self.waiting: dict[Connection, None] = {}
        #: Those that wait for the client to take its answer, and since when.
        self.sending: dict[Connection, float] = {}
        self._told_to_end: Event | None = None

    def patch(self) -> None:
        """Make what blocks a switch to another greenlet, before the application is built."""
        with warnings.catch_warnings():
            # The master has imported ssl. Of the classes that were taken from it by then, which
            # are what the warning is about, nothing here uses any.
            warnings.simplefilter("ignore", MonkeyPatchWarning)
            super().patch()

    def init_process(self) -> None:
        """Begin, in the new process."""
        # gunicorn looks its settings up through __getattr__, dozens of times for a request.
        self.cfg.__dict__.update((name, each.get()) for name, each in self.cfg.settings.items())
        super().init_process()

    def init_signals(self) -> None:
        """Hear the master's signals."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)

    def run(self) -> None:
        """Serve until told to end, then finish what was begun."""
        # What was made until here stays; looking through it again and again is no use.
        gc.collect()
        gc.freeze()
        self._told_to_end = Event()
        self._environ = environ_of_server(self.cfg)
        self._pool = Pool(self.worker_connections)
        servers = [self._listen(listener) for listener in self.sockets]
        while self.alive:
            self.notify()
            self._end_waiting(_WAIT_SECONDS_WHEN_FULL if self._pool.full() else KEEP_ALIVE_SECONDS)
            self._give_up_stalled()
            self._told_to_end.wait(_LOOK_SECONDS)
        for server in servers:
            self._take_what_connected(server)
            server.close()
        self._finish()

    def handle_exit(self, sig: int, frame: object) -> None:
        """End, on SIGTERM."""
        super().handle_exit(sig, frame)
        if self._told_to_end is not None:
            self._told_to_end.set()

    def handle(self, listener: Any, client: socket.socket, peer: Any) -> None:
        """Serve a connection, one request after the other, until either side ends it.

        ``listener`` and ``peer`` are addresses, as their sockets give them.
        """
        client.setblocking(True)
        connection = Connection(client, self)
        if self._pool.full():
            self._end_waiting(_WAIT_SECONDS_WHEN_FULL)
        unreader = SocketUnreader(client)
        try:
            for number in count(1):
                request = None
                with connection:
                    request = ClientRequest(self.cfg, unreader, peer)
                if request is None or not self._answer(request, connection, peer, listener):
                    break
                if number % _REQUESTS_A_TURN == 0:
                    # A client that never lets its socket run dry would have the worker for itself.
                    gevent.sleep(SHORTEST_SLEEP)
        except (NoMoreData, gevent.GreenletExit):
            # The client has nothing more to ask.
            self.log.debug("a connection has ended")
        except OSError as error:
            if error.errno not in _CLIENT_HAS_LEFT:
                self.log.exception("Socket error processing request.")
        except BaseException as error:  # noqa: BLE001 - whatever it is, only this connection ends
            self._answer_error(error, connection, peer)
        finally:
            util.close(client)

    def _answer(
        self, request: ClientRequest, connection: Connection, peer: Any, listener: Any
    ) -> bool:
        """Answer one request, and tell whether the connection may carry another one.

        Raises OSError where it breaks off. An exception before the head of the answer is out
        is answered by the caller.
        """
        environ = environ_of(request, connection.sock, peer, listener, self._environ)
        connection.uninvited = request.expects_100_continue
        if connection.uninvited:
            environ["wsgi.input"] = InvitedBody(request.body, connection)
        response = ClientResponse(request, connection, partial(self._wants_to_close, connection))
        try:
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
            # A second head cannot be sent, and the body must not look whole.
            self.log.exception("Error handling request")
            return False
        if response.closes:
            return False
        return not request.has_body or connection.is_rid_of(request.body)

    def _answer_error(self, error: BaseException, connection: Connection, peer: Any) -> None:
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
        if connection.begun:
            # Its bytes would count as those of the answer that broke off.
            return
        with suppress(Exception):
            util.write_error(connection.sock, status.value, status.phrase, "")

    def _wants_to_close(self, connection: Connection) -> bool:
        """Whether the client is told to close: at the end, and where others wait for a turn."""
        leaving = not self.alive or connection.hung_up > 0 or self._pool.full()
        return leaving or connection.uninvited

    def _listen(self, listener: socket.socket) -> StreamServer:
        listener.setblocking(True)
        handle = partial(self.handle, listener.getsockname())
        server = StreamServer(listener, handle=handle, spawn=self._pool)
        if self.cfg.workers > 1:
            server.max_accept = 1
        server.start()
        return server

    def _take_what_connected(self, server: StreamServer) -> None:
        """Accept the connections that clients have already; closing the listener resets them."""
        try:
            while not server.full() and (accepted := server.do_read()):
                server.do_handle(*accepted)
        except OSError as error:
            # No more files, perhaps. What was begun is finished all the same.
            self.log.warning("connections that waited are lost: %s", error.strerror)

    def _finish(self) -> None:
        """Answer what is under way, as long as that may take."""
        told = monotonic()
        until = told + self.cfg.graceful_timeout - MASTER_EXTRA_SECONDS
        while len(self._pool) and (now := monotonic()) < until:
            self.notify()
            if now - told >= LAST_REQUEST_SECONDS:
                self._end_waiting(LAST_REQUEST_SECONDS)
            self._give_up_stalled()
            gevent.sleep(_LOOK_SECONDS_WHILE_ENDING)
        if len(self._pool):
            self.log.warning(
                "%d connections are cut off, they took too long to end", len(self._pool)
            )
            self._pool.kill(timeout=1)

    def _end_waiting(self, seconds: float) -> None:
        """End the connections that have waited for a request for so long."""
        now = monotonic()
        for connection in list(self.waiting):
            if now - connection.since < seconds:
                break
            if not connection.hung_up:
                connection.hang_up()
            elif now - connection.hung_up > _HANG_UP_SECONDS:
                self._give_up(connection, self.waiting)

    def _give_up_stalled(self) -> None:
        """Give up the clients that take nothing of their answers."""
        now = monotonic()
        for connection, since in list(self.sending.items()):
            if now - since > SEND_SECONDS:
                self._give_up(connection, self.sending)

    @staticmethod
    def _give_up(connection: Connection, still: dict[Connection, Any]) -> None:
        def throw() -> None:
            # It may have gone on since.
            if connection in still:
                connection.greenlet.throw(GivenUpError)

        get_hub().loop.run_callback(throw)
