"""The application that forwards a request to the backend and its answer to the client.

What was decided about a request is decided before it comes here. This application forwards
it unchanged but for what RFC 9110 §7.6 demands of an intermediary, or not at all:

    refuse what cannot be forwarded → head and beginning of the body → a connection
    → send, and read the answer's head → the answer's body, piece by piece

The middleware in front leaves in the environ: ``gateway.target``, the raw target that it
judged, and ``gateway.identity_headers``, a tuple of names and values that the backend is to
believe, so the client's own are removed. The client's Host is passed on unchanged.
"""

from __future__ import annotations

import errno
import logging
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from time import monotonic
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from gateway.config.settings import Server, Upstream
from gateway.http.client_socket import client_socket
from gateway.http.proxy_errors import ProxyError, bad_request, respond
from gateway.proxy.http1 import (
    ClientLeftError,
    Exchange,
    StaleConnectionError,
    UpstreamError,
    UpstreamTimeoutError,
)
from gateway.proxy.request_body import request_body
from gateway.proxy.request_head import RequestHead
from gateway.proxy.upstream import (
    IDLE_SECONDS,
    SAFELY_IDLE_SECONDS,
    Connection,
    Pool,
    PoolExhaustedError,
)

_log = logging.getLogger("gateway.proxy")

#: RFC 9110 §9.2.1, less TRACE: without a body they may be sent a second time.
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
#: TRACE would show the client what only the backend is told; CONNECT is not for a gateway.
_REFUSED = frozenset({"CONNECT", "TRACE"})
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MAX_FORWARDS = re.compile(r"[0-9]{1,9}")
_RETRY_AFTER = 1
#: A new connection, which cannot be stale.
_NO_IDLE = -1.0


class TruncatedAnswerError(ConnectionResetError):
    """The answer broke off after its head went out, so the client's connection must break too.

    It is an error of the connection because WSGI servers, when they meet one, end theirs
    without the last chunk and without a traceback.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the answer of the upstream broke off")


class Proxy:
    """The WSGI application that forwards to the addresses of ``settings``.

    ``issuer`` names the gateway in Via. Make it after the fork of a worker. Raises ValueError
    for an address or an additional header that cannot be, and OSError for ``ca_file``.
    """

    def __init__(self, settings: Upstream, server: Server, issuer: str) -> None:
        self._pool = Pool(settings)
        self._name = urlsplit(issuer).netloc or "gateway"
        self._head = RequestHead(settings, server, self._name, self._pool.authority)
        self._read_timeout = settings.read_timeout
        self._total_timeout = settings.total_timeout

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Forward one request."""
        try:
            refuse_unforwardable(environ)
            if ends_here(environ):
                start_response("204 No Content", [])
                return []
            body = self._forward(environ)
        except ProxyError as error:
            return respond(error, environ, start_response)
        response = body.exchange.response
        response.headers.append(("Via", f"{response.version} {self._name}"))
        try:
            start_response(
                f"{response.status} {response.reason.decode('latin-1')}", response.headers
            )
        except BaseException:
            body.close()
            raise
        return body.whole() if response.complete else body

    def close(self) -> None:
        """Close the idle connections, and the others as soon as they are free."""
        self._pool.close()

    def _forward(self, environ: WSGIEnvironment) -> AnswerBody:
        deadline = monotonic() + self._total_timeout if self._total_timeout else None
        body = request_body(environ, self._read_timeout, deadline)
        data = self._head.write(environ, "" if body is None else body.header)
        if body is not None:
            data += body.next()
        method = environ["REQUEST_METHOD"]
        repeatable = body is None and method in _REPEATABLE
        idle_seconds = IDLE_SECONDS if repeatable else SAFELY_IDLE_SECONDS
        while True:
            connection = self._connection(idle_seconds, deadline)
            exchange = Exchange(
                connection.sock,
                head_only=method == "HEAD",
                kept_alive=connection.kept_alive,
                read_timeout=self._read_timeout,
                deadline=deadline,
                client=client_socket(environ),
            )
            answer = AnswerBody(exchange, connection, self._pool)
            try:
                exchange.send(data)
                exchange.finish_sending(None if body is None or body.ended else body.next)
                exchange.read_head()
            except StaleConnectionError as error:
                answer.close()
                if not (repeatable or error.unsent):
                    raise failure(error, connection) from error
                idle_seconds = _NO_IDLE
            except UpstreamError as error:
                answer.close()
                raise failure(error, connection) from error
            except BaseException:
                answer.close()
                raise
            else:
                return answer

    def _connection(self, idle_seconds: float, deadline: float | None) -> Connection:
        try:
            return self._pool.acquire(idle_seconds=idle_seconds, deadline=deadline)
        except UpstreamError as error:
            raise failure(error) from error


class AnswerBody:
    """The body of an answer on its way to the client; a WSGI iterable.

    Its connection goes back to the pool at the end of the body, or with :meth:`close`.
    """

    def __init__(self, exchange: Exchange, connection: Connection, pool: Pool) -> None:
        self.exchange = exchange
        self._connection: Connection | None = connection
        self._pool = pool
        self._begun = False

    def whole(self) -> list[bytes]:
        """Give a body that has come completely, and the connection back."""
        body = self.exchange.read_body()
        self.close()
        return [body] if body else []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Give the next piece as soon as it comes.

        The first one may be empty: servers send the head with the first piece, and the head
        of an event stream may be all there is for a while.
        """
        if not self._begun:
            self._begun = True
            return self.exchange.response.take_body()
        try:
            data = self.exchange.read_body()
        except ClientLeftError:
            _log.debug("the client left during an answer")
            raise
        except UpstreamError as error:
            failure(error, self._connection)
            raise TruncatedAnswerError from error
        except ProxyError as error:
            # The rest of the request's body failed while the answer was under way already.
            raise TruncatedAnswerError from error
        if not data:
            self.close()
            raise StopIteration
        return data

    def close(self) -> None:
        """Give the connection back: to be kept if both messages are complete."""
        connection, self._connection = self._connection, None
        if connection is not None:
            reusable = self.exchange.reusable
            self.exchange.response.discard()
            self._pool.release(connection, reusable=reusable)


def refuse_unforwardable(environ: WSGIEnvironment) -> None:
    """Refuse methods and upgrades that a gateway does not carry (RFC 9110 §7.8 and §9.3)."""
    method = environ["REQUEST_METHOD"]
    if method in _REFUSED:
        raise ProxyError(HTTPStatus.NOT_IMPLEMENTED, "The gateway does not forward this method.")
    if _METHOD.fullmatch(method) is None:
        raise bad_request("The method is not a token.")
    if "websocket" in environ.get("HTTP_UPGRADE", "").lower():
        raise ProxyError(
            HTTPStatus.NOT_IMPLEMENTED,
            "The gateway does not carry WebSockets itself; a server that asks it for"
            " authorization only can.",
        )


def ends_here(environ: WSGIEnvironment) -> bool:
    """Count Max-Forwards of an OPTIONS request down in the environ (RFC 9110 §7.6.2).

    True when it was 0: then the gateway itself is asked, and has no options to tell of.
    """
    value = environ.get("HTTP_MAX_FORWARDS")
    if value is None or environ["REQUEST_METHOD"] != "OPTIONS":
        return False
    if _MAX_FORWARDS.fullmatch(value) is None:
        raise bad_request("Max-Forwards is not a number.")
    environ["HTTP_MAX_FORWARDS"] = str(max(0, int(value) - 1))
    return int(value) == 0


def failure(error: UpstreamError, connection: Connection | None = None) -> ProxyError:
    """Say in the log what the upstream did, and give what the client is told of it."""
    where = "" if connection is None else f" {connection.backend.address}"
    _log.warning("upstream%s: %s", where, error)
    if isinstance(error, PoolExhaustedError):
        return ProxyError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Too many requests are under way. Try again in a moment.",
            retry_after=_RETRY_AFTER,
        )
    if isinstance(error, UpstreamTimeoutError):
        return ProxyError(
            HTTPStatus.GATEWAY_TIMEOUT, "The application behind the gateway took too long."
        )
    return ProxyError(
        HTTPStatus.BAD_GATEWAY, "The application behind the gateway did not answer properly."
    )
