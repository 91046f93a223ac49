"""One request and its response over one connection: HTTP/1.1 from the client's side (RFC 9112).

The life of an exchange:

    send(head + first of the body) → finish_sending(rest) → read_head() → read_body() … b""

The response may start before the whole request is sent. If its status is 300 or more, the backend
does not want the rest, and sending stops. Otherwise sending goes on while the response is handed
out. A connection may carry another request only if both messages ended where they should
(``reusable``).

A read waits a short while for the backend alone, which costs least. After that it waits for the
backend and the client together, so that a client that leaves is noticed soon.
"""

from __future__ import annotations

import errno
import math
import select
import socket
import ssl
import time
from collections.abc import Callable
from time import monotonic

from gateway.http.client_socket import probe_end
from gateway.proxy.upstream_response import BadResponseError, InterimResponse, UpstreamResponse

#: The largest piece that is read from the backend's socket, and held for one request.
RECEIVE_BYTES = 65_536
#: One transfer may run for this long before other requests get a turn. While its socket is always
#: ready, its greenlet never waits, so a fast transfer would hold up every other one.
TURN_SECONDS = 0.005
_SHORTEST_SLEEP = 1e-6
#: A read waits this long for the backend alone before it also watches the client; a client that
#: keeps sending is looked at again after this long.
CLIENT_CHECK_SECONDS = 0.5
#: While a response is under way, its token is validated again after this long.
RECHECK_SECONDS = 10.0

_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
#: RFC 9110 §15: an early response with this status or a higher one does not want the rest of the
#: request's body.
_FIRST_STATUS_WITHOUT_BODY = 300


class UpstreamError(Exception):
    """The backend failed. The text says how, and quotes nothing that the backend sent."""


class UpstreamTimeoutError(UpstreamError):
    """The backend took longer than it may."""


class BrokenResponseError(UpstreamError):
    """The response ended too early or is not HTTP."""


class StaleConnectionError(BrokenResponseError):
    """A kept-alive connection ended before the first byte of a response.

    The backend may have closed it while it was idle. ``unsent`` says that no byte of the request
    was taken, so that even an unsafe request can go out on another connection.
    """

    def __init__(self, reason: str, *, unsent: bool) -> None:
        super().__init__(reason)
        self.unsent = unsent


class ClientLeftError(ConnectionResetError):
    """The client closed its connection. WSGI servers know this error as just that."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the client closed its connection")


class NoLongerAllowedError(UpstreamError):
    """The token of the request was revoked while its response was under way."""


class Exchange:
    """One request and its response on a connected socket.

    The timeout of ``sock`` is at most CLIENT_CHECK_SECONDS. ``head_only`` is for a HEAD request,
    ``kept_alive`` for a connection that carried a request before. ``read_timeout`` seconds may
    pass between two bytes in either direction, and nothing lasts beyond ``deadline`` (a time of
    the monotonic clock). An event stream may be silent for ``stream_timeout`` seconds; 0 is for
    ever. ``client`` is the client's socket, where the server shows it.

    ``send_interim`` hands interim responses to the client. Every RECHECK_SECONDS of a response
    ``still_allowed`` is asked, and the response ends if it says no.
    """

    __slots__ = (
        "_any_byte_sent",
        "_body_source",
        "_client",
        "_deadline",
        "_kept_alive",
        "_next_check",
        "_outgoing",
        "_patience",
        "_read_timeout",
        "_send_failed",
        "_send_interim",
        "_sock",
        "_still_allowed",
        "_stream_timeout",
        "_turn_deadline",
        "response",
    )

    def __init__(
        self,
        sock: socket.socket,
        *,
        head_only: bool = False,
        kept_alive: bool = False,
        read_timeout: float = 60.0,
        stream_timeout: float = 0.0,
        deadline: float | None = None,
        client: socket.socket | None = None,
        send_interim: Callable[[InterimResponse], object] | None = None,
        still_allowed: Callable[[], bool] | None = None,
    ) -> None:
        self.response = UpstreamResponse(head_only=head_only)
        self._sock = sock
        self._kept_alive = kept_alive
        self._read_timeout = read_timeout
        self._patience = min(CLIENT_CHECK_SECONDS, read_timeout)
        self._stream_timeout = stream_timeout
        self._deadline = deadline
        self._client = client
        self._send_interim = send_interim
        self._still_allowed = still_allowed
        self._next_check = monotonic() + RECHECK_SECONDS
        self._any_byte_sent = False
        self._send_failed = False
        self._outgoing: memoryview | bytes = b""
        self._body_source: Callable[[], bytes] | None = None
        self._turn_deadline = 0.0

    def send(self, data: bytes) -> None:
        """Send the head with the body or its beginning; :meth:`finish_sending` sends the rest."""
        try:
            count = self._sock.send(data)
        except TimeoutError:
            count = 0
        except OSError:
            self._send_failed = True
            return
        self._any_byte_sent = count > 0
        if count < len(data):
            self._outgoing = memoryview(data)[count:]

    def finish_sending(self, source: Callable[[], bytes] | None) -> None:
        """Send what :meth:`send` left over, then every piece of ``source`` until b"".

        Stops early at a response. ``source`` returns bytes framed for the wire; its errors pass
        through.
        """
        if self._send_failed:
            return
        self._body_source = source
        if not self._sending:
            return
        self._sock.settimeout(0)
        while self._sending and not self.response.head_complete:
            self._send_and_receive()
        self._sock.settimeout(self._patience)
        if self.response.status >= _FIRST_STATUS_WITHOUT_BODY:
            self._stop_sending()

    def read_head(self) -> None:
        """Read to the end of the response's head.

        Raises :class:`UpstreamTimeoutError`, :class:`BrokenResponseError`,
        :class:`StaleConnectionError` or :class:`ClientLeftError`.
        """
        while not self.response.head_complete:
            self._feed(self._receive(RECEIVE_BYTES))

    def read_body(self) -> bytes:
        """Return the next piece of the body as soon as there is one; b"" at its end.

        Raises the errors of :meth:`read_head` when the body breaks off. While the request's body
        is still being sent, the errors of its source pass through.
        """
        response = self.response
        self._yield_turn()
        self._recheck()
        data = response.take_body()
        while not data and not response.complete:
            if self._sending:
                self._sock.settimeout(0)
                self._send_and_receive()
                self._sock.settimeout(self._patience)
            elif response.chunked:
                self._feed(self._receive(RECEIVE_BYTES))
            else:
                return self._receive_unchunked(response)
            data = response.take_body()
        return data

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request (RFC 9112 §9.3)."""
        response = self.response
        sent = not (self._sending or self._send_failed)
        return response.complete and response.persistent and sent

    @property
    def _sending(self) -> bool:
        return bool(self._outgoing) or self._body_source is not None

    def _stop_sending(self) -> None:
        if self._sending:
            self._send_failed = True
        self._outgoing = b""
        self._body_source = None

    def _send_and_receive(self) -> None:
        """Send one piece, or as much as the backend takes, and receive what has come meanwhile."""
        self._yield_turn()
        if not self._outgoing and not self._load_next_piece():
            return
        try:
            count = self._sock.send(self._outgoing)
        except _WOULD_BLOCK:
            count = 0
        except OSError:
            # The response may say why the backend takes no more.
            self._stop_sending()
            return
        if count:
            self._any_byte_sent = True
            self._outgoing = self._outgoing[count:]
        else:
            self._wait(select.POLLIN | select.POLLOUT, monotonic() + self._read_timeout)
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except _WOULD_BLOCK:
            return
        except OSError as error:
            raise self._connection_error("broke") from error
        self._feed(data)

    def _load_next_piece(self) -> bool:
        """Take the next piece of the request's body to send; False at its end."""
        piece = self._body_source() if self._body_source is not None else b""
        if not piece:
            self._body_source = None
        self._outgoing = memoryview(piece)
        return bool(piece)

    def _yield_turn(self) -> None:
        """Let other greenlets and threads run when this one has had its turn."""
        now = monotonic()
        if now > self._turn_deadline:
            if self._turn_deadline:
                # Called through its module, since gevent may replace it after this import. Not
                # 0, from which gevent would come back before it looked at any socket.
                time.sleep(_SHORTEST_SLEEP)
            self._turn_deadline = now + TURN_SECONDS

    def _feed(self, data: bytes) -> None:
        """Parse the bytes that came, b"" at the end of the connection."""
        response = self.response
        if data:
            try:
                response.feed(data)
            except BadResponseError as error:
                raise BrokenResponseError(str(error)) from None
            if response.interims:
                self._hand_on_interims()
        elif response.head_complete and not response.chunked and response.remaining is None:
            response.complete = True
        else:
            raise self._connection_error("closed")

    def _hand_on_interims(self) -> None:
        interims, self.response.interims = self.response.interims, []
        if self._send_interim is not None:
            for interim in interims:
                self._send_interim(interim)

    def _recheck(self) -> None:
        """Raise NoLongerAllowedError if the request would not be allowed any more."""
        if self._still_allowed is None or (now := monotonic()) < self._next_check:
            return
        self._next_check = now + RECHECK_SECONDS
        if self.response.head_complete and not self._still_allowed():
            raise NoLongerAllowedError("the token was revoked while a response was under way")

    def _longest_silence(self) -> float:
        """Return how many seconds the backend may be silent now."""
        response = self.response
        if not (response.head_complete and response.is_event_stream()):
            return self._read_timeout
        return self._stream_timeout or math.inf

    def _receive_unchunked(self, response: UpstreamResponse) -> bytes:
        """Read a body that ends at its length or at the end of the connection (RFC 9112 §6.3).

        It bypasses the parser, because there is nothing to parse in it.
        """
        if response.remaining is None:
            data = self._receive(RECEIVE_BYTES)
            response.complete = not data
            return data
        data = self._receive(min(RECEIVE_BYTES, response.remaining))
        if not data:
            raise self._connection_error("closed")
        response.remaining -= len(data)
        response.complete = response.remaining == 0
        return data

    def _receive(self, size: int) -> bytes:
        """Wait for bytes of the backend, and return them."""
        silence_deadline: float | None = None
        while True:
            if self._deadline is not None:
                remaining = self._deadline - monotonic()
                if remaining <= 0:
                    raise UpstreamTimeoutError(
                        "the backend took longer than upstream.total_timeout"
                    )
                self._sock.settimeout(min(self._patience, remaining))
            try:
                return self._sock.recv(size)
            except TimeoutError:
                if silence_deadline is None:
                    silence_deadline = monotonic() + self._longest_silence() - self._patience
                self._wait(select.POLLIN, silence_deadline)
            except OSError as error:
                raise self._connection_error("broke") from error

    def _wait(self, events: int, deadline: float) -> None:
        """Wait until the backend is ready for ``events``.

        Raises UpstreamTimeoutError at ``deadline``, and ClientLeftError if the client leaves.
        """
        if self._deadline is not None:
            deadline = min(deadline, self._deadline)
        poll = select.poll()
        poll.register(self._sock, events)
        client = self._client
        polls_client = client is not None
        if client is not None:
            poll.register(client, select.POLLIN)
        while (seconds := deadline - monotonic()) > 0:
            self._recheck()
            seconds = min(seconds, RECHECK_SECONDS)
            if not polls_client and client is not None:
                seconds = min(seconds, CLIENT_CHECK_SECONDS)
            ready = [descriptor for descriptor, _ in poll.poll(seconds * 1000 + 1)]
            if self._sock.fileno() in ready:
                return
            if client is not None and (ready or not polls_client):
                if probe_end(client):
                    raise ClientLeftError
                if polls_client:
                    # The client sent more than this request, so its socket stays readable: it is
                    # looked at now and then instead.
                    poll.unregister(client)
                    polls_client = False
        limit = "total_timeout" if deadline == self._deadline else "read_timeout or stream_timeout"
        raise UpstreamTimeoutError(f"the backend took longer than upstream.{limit}")

    def _connection_error(self, ending: str) -> BrokenResponseError:
        if self.response.fed == 0 and self._kept_alive:
            reason = f"the backend {ending} an idle connection"
            return StaleConnectionError(reason, unsent=not self._any_byte_sent)
        where = "in the middle of" if self.response.fed else "before"
        return BrokenResponseError(f"the backend {ending} the connection {where} a response")
