"""One request and its response over one connection: HTTP/1.1 from the client's side (RFC 9112).

The life of an exchange:

    send(head + first of the body) → finish_sending(rest) → read_head() → read_body() … b""

A response may come before the request is out. One that does not want the rest (300 and above)
ends the sending; otherwise sending goes on while the response is handed out. A connection may
serve another request only if both messages ended where they should (``reusable``).

Reading waits a short while on the backend alone, which is the cheap way, and then on the
backend and the client together: a client that leaves is noticed within that while.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable
from time import monotonic

from gateway.http.client_socket import probe_end
from gateway.proxy.upstream_response import BadResponseError, UpstreamResponse

#: At most so much is taken from the backend's socket at once, and held for one request.
RECEIVE_BYTES = 65_536
#: Seconds for which a body may pass without giving way to other requests. A socket that is always
#: ready never makes a greenlet wait, so one fast transfer would hold all others up.
TURN = 0.005
_SHORTEST_SLEEP = 1e-6
#: Seconds on the backend alone before the client is watched too, and between two looks.
PATIENCE = 0.5

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: RFC 9110 §15: from 3xx on, a response that comes early does not want the rest of the body.
_FIRST_UNWILLING = 300


class UpstreamError(Exception):
    """The backend did not do its part; the text says how, and quotes nothing it sent."""


class UpstreamTimeoutError(UpstreamError):
    """The backend took longer than it may."""


class BrokenResponseError(UpstreamError):
    """The response ended too early or is not HTTP."""


class StaleConnectionError(BrokenResponseError):
    """A kept-alive connection ended before the first byte of a response.

    The backend may have closed it while it was idle. ``unsent`` tells that no byte of the
    request was taken, so that even an unsafe request can go out on another connection.
    """

    def __init__(self, reason: str, *, unsent: bool) -> None:
        super().__init__(reason)
        self.unsent = unsent


class ClientLeftError(ConnectionResetError):
    """The client closed its connection; WSGI servers take this error for what it is."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client closed its connection")


class Exchange:
    """One request and its response on a connected socket, whose timeout is at most PATIENCE.

    ``head_only`` for a HEAD request. ``kept_alive`` for a connection that served before.
    ``read_timeout`` seconds may pass between two bytes in either direction, and nothing may
    last beyond ``deadline`` (of the monotonic clock). ``client`` is watched where it is known.
    """

    __slots__ = (
        "_client",
        "_deadline",
        "_kept_alive",
        "_patience",
        "_read_timeout",
        "_send_failed",
        "_sent",
        "_sock",
        "_source",
        "_turn_ends",
        "_unsent",
        "response",
    )

    def __init__(
        self,
        sock: socket.socket,
        *,
        head_only: bool = False,
        kept_alive: bool = False,
        read_timeout: float = 60.0,
        deadline: float | None = None,
        client: socket.socket | None = None,
    ) -> None:
        self.response = UpstreamResponse(head_only=head_only)
        self._sock = sock
        self._kept_alive = kept_alive
        self._read_timeout = read_timeout
        self._patience = min(PATIENCE, read_timeout)
        self._deadline = deadline
        self._client = client
        self._sent = False
        self._send_failed = False
        self._unsent: memoryview | bytes = b""
        self._source: Callable[[], bytes] | None = None
        self._turn_ends = 0.0

    def send(self, data: bytes) -> None:
        """Send the head, with the body or its beginning; what does not fit goes out later."""
        try:
            count = self._sock.send(data)
        except TimeoutError:
            count = 0
        except OSError:
            self._send_failed = True
            return
        self._sent = count > 0
        if count < len(data):
            self._unsent = memoryview(data)[count:]

    def finish_sending(self, source: Callable[[], bytes] | None) -> None:
        """Send what is left and all that ``source`` gives until b"", or until a response.

        ``source`` gives bytes framed for the wire; its errors pass through.
        """
        if self._send_failed:
            return
        self._source = source
        if not self._sending:
            return
        self._sock.settimeout(0)
        while self._sending and not self.response.head_complete:
            self._step()
        self._sock.settimeout(self._patience)
        if self.response.status >= _FIRST_UNWILLING:
            self._stop_sending()

    def read_head(self) -> None:
        """Read to the end of the response's head.

        Raises :class:`UpstreamTimeoutError`, :class:`BrokenResponseError`,
        :class:`StaleConnectionError` or :class:`ClientLeftError`.
        """
        while not self.response.head_complete:
            self._take(self._receive(RECEIVE_BYTES))

    def read_body(self) -> bytes:
        """Give the next piece of the body, as soon as there is one; b"" at its end.

        Raises as :meth:`read_head` does when the body breaks off, and what the source of a
        request's body raises that is still being sent.
        """
        response = self.response
        self._give_way()
        data = response.take_body()
        while not data and not response.complete:
            if self._sending:
                self._sock.settimeout(0)
                self._step()
                self._sock.settimeout(self._patience)
            elif response.chunked:
                self._take(self._receive(RECEIVE_BYTES))
            else:
                return self._receive_identity(response)
            data = response.take_body()
        return data

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request (RFC 9112 §9.3)."""
        response = self.response
        return (
            response.complete and response.persistent and not (self._sending or self._send_failed)
        )

    @property
    def _sending(self) -> bool:
        return bool(self._unsent) or self._source is not None

    def _stop_sending(self) -> None:
        if self._sending:
            self._send_failed = True
        self._unsent = b""
        self._source = None

    def _step(self) -> None:
        """Send one piece or as much as the backend takes, and take what it says meanwhile."""
        self._give_way()
        if not self._unsent and self._source is not None:
            piece = self._source()
            if not piece:
                self._source = None
                return
            self._unsent = memoryview(piece)
        try:
            count = self._sock.send(self._unsent)
        except _WOULD_BLOCK:
            count = 0
        except OSError:
            # Why it takes no more may be written in the response.
            self._stop_sending()
            return
        if count:
            self._sent = True
            self._unsent = self._unsent[count:]
        else:
            self._wait(select.POLLIN | select.POLLOUT, monotonic() + self._read_timeout)
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except _WOULD_BLOCK:
            return
        except OSError as error:
            raise self._broken("broke") from error
        self._take(data)

    def _give_way(self) -> None:
        """Let other greenlets and threads have their turn after ours."""
        now = monotonic()
        if now > self._turn_ends:
            if self._turn_ends:
                # By its module, since gevent may replace it after this one was imported. Not
                # for 0, from which gevent would come back before it looked at any socket.
                time.sleep(_SHORTEST_SLEEP)
            self._turn_ends = now + TURN

    def _take(self, data: bytes) -> None:
        """Feed the response with what came, b"" for the end of the connection."""
        response = self.response
        if data:
            try:
                response.feed(data)
            except BadResponseError as error:
                raise BrokenResponseError(str(error)) from None
        elif response.head_complete and not response.chunked and response.remaining is None:
            response.complete = True
        else:
            raise self._broken("closed")

    def _receive_identity(self, response: UpstreamResponse) -> bytes:
        """Read a body that is delimited by its length, or by the end of the connection.

        There is nothing to parse in it, so it goes past the parser.
        """
        if response.remaining is None:
            data = self._receive(RECEIVE_BYTES)
            response.complete = not data
            return data
        data = self._receive(min(RECEIVE_BYTES, response.remaining))
        if not data:
            raise self._broken("closed")
        response.remaining -= len(data)
        response.complete = response.remaining == 0
        return data

    def _receive(self, size: int) -> bytes:
        """Read what there is, waiting for it."""
        until: float | None = None
        while True:
            if self._deadline is not None:
                left = self._deadline - monotonic()
                if left <= 0:
                    raise UpstreamTimeoutError("it took too long in total")
                self._sock.settimeout(min(self._patience, left))
            try:
                return self._sock.recv(size)
            except TimeoutError:
                if until is None:
                    until = monotonic() + self._read_timeout - self._patience
                self._wait(select.POLLIN, until)
            except OSError as error:
                raise self._broken("broke") from error

    def _wait(self, events: int, until: float) -> None:
        """Wait for the backend until a time, and for the client to leave meanwhile."""
        if self._deadline is not None:
            until = min(until, self._deadline)
        poll = select.poll()
        poll.register(self._sock, events)
        client = self._client
        watching = client is not None
        if client is not None:
            poll.register(client, select.POLLIN)
        while (seconds := until - monotonic()) > 0:
            if not watching and client is not None:
                seconds = min(seconds, PATIENCE)
            ready = [descriptor for descriptor, _ in poll.poll(seconds * 1000 + 1)]
            if self._sock.fileno() in ready:
                return
            if client is not None and (ready or not watching):
                if probe_end(client):
                    raise ClientLeftError
                if watching:
                    # It sent more than this request: always readable, so look now and then.
                    poll.unregister(client)
                    watching = False
        raise UpstreamTimeoutError("it took too long")

    def _broken(self, ending: str) -> BrokenResponseError:
        if self.response.fed == 0 and self._kept_alive:
            return StaleConnectionError(f"it {ending} an idle connection", unsent=not self._sent)
        where = "in the middle of" if self.response.fed else "before"
        return BrokenResponseError(f"it {ending} the connection {where} a response")
