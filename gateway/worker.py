"""The process that serves the connections: gunicorn's gevent worker, and what it lacks for a proxy.

- It ends without dropping a request. Those in flight are answered, and their clients told to
  close. A client that keeps its connection alive gets a moment in which its next request is
  still answered, because it cannot know yet.
- A connection that waits is in nobody's way: while all of them are taken, those that wait for
  a request end soon, and every answer ends its connection, so that all clients have a turn.
- A client that takes nothing of its answer is given up.
- Head and beginning of an answer leave in one piece, and what gunicorn looks up for each
  request is looked up once.
"""

from __future__ import annotations

import gc
import signal
import socket
import time
import warnings
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache, partial
from http import HTTPStatus
from time import monotonic
from typing import Any

import gevent
from gevent.event import Event
from gevent.hub import get_hub
from gevent.monkey import MonkeyPatchWarning
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.workers.ggevent import GeventWorker

from gateway.client_socket import HEADER_LINES, WITHIN
from gateway.connection import Connection, GivenUpError, InvitedBody, ListenerName
from gateway.unparsed import require_host, status_of

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

#: While there is no free connection, one that waits for a request ends after so long.
_WAIT_SECONDS_WHEN_FULL = 1.0
#: What hanging up does not end, because the client goes on sending, ends so much later.
_HANG_UP_SECONDS = 1.0
_LOOK_SECONDS = 1.0
_LOOK_SECONDS_WHILE_ENDING = 0.05


class Response(wsgi.Response):  # type: ignore[misc]  # gunicorn has no types
    """An answer on its way to the client; its head goes out with the first piece of its body."""

    headers_sent: bool

    def __init__(self, request: Any, sock: socket.socket, cfg: Any, worker: Worker) -> None:
        super().__init__(request, sock, cfg)
        self._worker = worker
        self._connection = worker.connections[gevent.getcurrent()]
        self._head = b""

    def send_headers(self) -> None:
        """Write the head, for the next piece to take it along."""
        if self.headers_sent:
            return
        if self._worker.wants_to_close(self._connection):
            self.must_close = True
        # As gunicorn's default_headers, but for the date, which takes longer than the rest.
        # RFC 9112 §2.3: 1.1 is the highest version that this server speaks.
        major, minor = min(self.req.version, (1, 1))
        lines = [
            f"HTTP/{major}.{minor} {self.status}",
            f"Server: {self.version}",
            f"Date: {_http_date(int(time.time()))}",
            f"Connection: {'close' if self.should_close() else 'keep-alive'}",
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        lines += [f"{name}: {value}" for name, value in self.headers]
        self._head = "\r\n".join((*lines, "", "")).encode("latin-1")
        self.headers_sent = True

    def write(self, arg: bytes) -> None:
        """Send a piece of the body; of an empty one only the head, if that is not out yet."""
        super().write(arg)
        self._send_head()

    def close(self) -> None:
        """Send what ends the body."""
        self.send_headers()
        if self.chunked:
            self._emit(b"0\r\n\r\n")
        self._send_head()

    def _emit_body(self, data: bytes) -> None:
        self._emit(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _emit(self, data: bytes) -> None:
        head, self._head = self._head, b""
        self._connection.send(head + data if head else data)

    def _send_head(self) -> None:
        if self._head:
            self._emit(b"")


def _complete(environ: dict[str, Any], request: Any, connection: Connection) -> None:
    """Put into the environ what gunicorn does not, or not so."""
    environ["wsgi.multithread"] = True
    environ[WITHIN] = _within
    environ[HEADER_LINES] = request.headers
    if connection.uninvited:
        environ["wsgi.input"] = InvitedBody(request.body, connection)
    if "," in environ.get("HTTP_COOKIE", ""):
        # RFC 9113 §8.2.3: several are one, joined by a semicolon.
        cookies = [value for name, value in request.headers if name == "COOKIE"]
        environ["HTTP_COOKIE"] = "; ".join(cookies)


def _has_body(environ: dict[str, Any]) -> bool:
    return "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ


def _take_what_connected(server: StreamServer) -> None:
    """Accept the connections that clients have already; closing the listener resets them."""
    while not server.full() and (accepted := server.do_read()):
        server.do_handle(*accepted)


def _within(seconds: float) -> gevent.Timeout:
    return gevent.Timeout(seconds, TimeoutError)


@lru_cache(maxsize=1)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn has no types
    """One process of the standalone gateway."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.connections: dict[gevent.Greenlet, Connection] = {}
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
        self._pool = Pool(self.worker_connections)
        servers = [self._listen(listener) for listener in self.sockets]
        while self.alive:
            self.notify()
            self._end_waiting(_WAIT_SECONDS_WHEN_FULL if self._pool.full() else KEEP_ALIVE_SECONDS)
            self._give_up_stalled()
            self._told_to_end.wait(_LOOK_SECONDS)
        for server in servers:
            _take_what_connected(server)
            server.close()
        self._finish()

    def handle_exit(self, sig: int, frame: object) -> None:
        """End, on SIGTERM."""
        super().handle_exit(sig, frame)
        if self._told_to_end is not None:
            self._told_to_end.set()

    def handle(self, listener: ListenerName, client: socket.socket, addr: Any) -> None:
        """Serve a connection."""
        greenlet = gevent.getcurrent()
        self.connections[greenlet] = Connection(client, self)
        if self._pool.full():
            self._end_waiting(_WAIT_SECONDS_WHEN_FULL)
        try:
            super().handle(listener, client, addr)
        finally:
            del self.connections[greenlet]

    def timeout_ctx(self) -> Connection:
        """Return the context in which a connection waits for its next request."""
        return self.connections[gevent.getcurrent()]

    def handle_request(self, listener_name: Any, req: Any, sock: socket.socket, addr: Any) -> None:
        """Answer one request; StopIteration ends the connection, OSError breaks it off.

        An exception before the head of the answer is out is answered by the caller.
        """
        require_host(req.version, req.headers)
        connection = self.connections[gevent.getcurrent()]
        # gunicorn would send 100 Continue before anybody has looked at the request.
        connection.uninvited, req._expected_100_continue = req._expected_100_continue, False  # noqa: SLF001
        response, environ = wsgi.create(req, sock, addr, listener_name, self.cfg, Response, (self,))
        _complete(environ, req, connection)
        try:
            body = self.wsgi(environ, response.start_response)
            try:
                for piece in body:
                    response.write(piece)
                response.close()
            finally:
                if hasattr(body, "close"):
                    body.close()
        except gevent.GreenletExit:
            raise StopIteration from None
        except OSError:
            raise
        except Exception:
            if not response.headers_sent:
                raise
            # A second head cannot be sent, and the body must not look whole.
            self.log.exception("Error handling request")
            raise StopIteration from None
        if response.should_close():
            raise StopIteration
        if _has_body(environ) and not connection.is_rid_of(req.body):
            raise StopIteration

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer a request that could not be parsed or served, and end its connection."""
        status = status_of(exc)
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            self.log.error("Error handling request", exc_info=exc)
        else:
            self.log.warning(
                "refused a request of %s: %s", addr[0] if addr else "", type(exc).__name__
            )
        if self.connections[gevent.getcurrent()].begun:
            # Its bytes would count as those of the answer that broke off.
            return
        with suppress(Exception):
            util.write_error(client, status.value, status.phrase, "")

    def wants_to_close(self, connection: Connection) -> bool:
        """Whether the client is told to close: at the end, and where others wait for a turn."""
        leaving = not self.alive or connection.hung_up > 0 or self._pool.full()
        return leaving or connection.uninvited

    def _listen(self, listener: socket.socket) -> StreamServer:
        listener.setblocking(True)
        handle = partial(self.handle, ListenerName(listener))
        server = StreamServer(listener, handle=handle, spawn=self._pool)
        if self.cfg.workers > 1:
            server.max_accept = 1
        server.start()
        return server

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
