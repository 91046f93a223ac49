"""The application that forwards a request to the backend and its response to the client.

The gateway has decided about a request before it comes here. This application forwards it,
changed by no more than RFC 9110 §7.6 demands of an intermediary, or refuses it:

    refuse what cannot be forwarded → head and beginning of the body → a connection
    → send, and read the response's head → the response's body, piece by piece

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
from wsgiref.types import StartResponse, WSGIEnvironment

from gateway.config.settings import Server, Upstream
from gateway.http.client_socket import (
    SEND_INTERIM,
    SHED_SLOW_BODIES,
    STILL_ALLOWED,
    client_socket,
)
from gateway.http.header_policy import REFUSED_METHODS, is_method
from gateway.http.proxy_errors import ProxyError, bad_request, respond
from gateway.proxy.forwarded_headers import via
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

#: RFC 9110 §9.2.1, less TRACE. Without a body they may be sent a second time.
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_FORWARDS = re.compile(r"[0-9]{1,9}")
_RETRY_AFTER = 1
#: A new connection, which cannot be stale.
_NO_IDLE = -1.0


class TruncatedResponseError(ConnectionResetError):
    """The response broke off after its head went out, so the client's connection must break too.

    It is an error of the connection because WSGI servers, when they meet one, end theirs
    without the last chunk and without a traceback.
    """

    def __init__(self) -> None:
        super().__init__(errno.ECONNRESET, "the response of the upstream broke off")


class Proxy:
    """The WSGI application that forwards to the addresses of ``settings``.

    ``name`` stands for the gateway in Via. Make it after the fork of a worker. Raises ValueError
    for an address or an additional header that cannot be used, and OSError for ``ca_file``.
    """

    def __init__(self, settings: Upstream, server: Server, name: str) -> None:
        self._pool = Pool(settings)
        self._name = name
        self._head = RequestHead(settings, server, name, self._pool.authority)
        self._read_timeout = settings.read_timeout
        self._stream_timeout = settings.stream_timeout
        self._total_timeout = settings.total_timeout

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Forward one request."""
        try:
            refuse_unforwardable(environ)
            hops = max_forwards(environ)
            if hops == 0:
                # The client asks the gateway itself, which has no options to tell of.
                start_response("204 No Content", [])
                return []
            if hops is not None:
                environ["HTTP_MAX_FORWARDS"] = str(hops - 1)
            body = self._forward(environ)
        except ProxyError as error:
            return respond(error, environ, start_response)
        return self._respond(body, start_response)

    def _respond(self, body: ResponseBody, start_response: StartResponse) -> Iterable[bytes]:
        """Hand the upstream response to the client."""
        response = body.exchange.response
        response.headers.append(("Via", via("", response.version, self._name)))
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

    def _forward(self, environ: WSGIEnvironment) -> ResponseBody:
        deadline = monotonic() + self._total_timeout if self._total_timeout else None
        body = request_body(environ, self._read_timeout, deadline)
        data = self._head.write(environ, "" if body is None else body.header)
        if body is not None:
            data += body.first()
        repeatable = body is None and environ["REQUEST_METHOD"] in _REPEATABLE
        idle_seconds = IDLE_SECONDS if repeatable else SAFELY_IDLE_SECONDS
        while True:
            connection = self._connection(environ, idle_seconds, deadline)
            exchange = self._exchange(connection, environ, deadline)
            response = ResponseBody(exchange, connection, self._pool)
            try:
                exchange.send(data)
                exchange.finish_sending(None if body is None or body.ended else body.next)
                exchange.read_head()
            except StaleConnectionError as error:
                response.close()
                if not (repeatable or error.unsent):
                    raise failure(error, connection) from error
                idle_seconds = _NO_IDLE
            except UpstreamError as error:
                response.close()
                raise failure(error, connection) from error
            except BaseException:
                response.close()
                raise
            else:
                return response

    def _exchange(
        self, connection: Connection, environ: WSGIEnvironment, deadline: float | None
    ) -> Exchange:
        return Exchange(
            connection.sock,
            head_only=environ["REQUEST_METHOD"] == "HEAD",
            kept_alive=connection.kept_alive,
            read_timeout=self._read_timeout,
            stream_timeout=self._stream_timeout,
            deadline=deadline,
            client=client_socket(environ),
            send_interim=environ.get(SEND_INTERIM),
            still_allowed=environ.get(STILL_ALLOWED),
        )

    def _connection(
        self, environ: WSGIEnvironment, idle_seconds: float, deadline: float | None
    ) -> Connection:
        try:
            return self._pool.acquire(
                idle_seconds=idle_seconds,
                deadline=deadline,
                before_wait=environ.get(SHED_SLOW_BODIES),
            )
        except UpstreamError as error:
            raise failure(error) from error


class ResponseBody:
    """The body of an upstream response on its way to the client; a WSGI iterable.

    Its connection goes back to the pool at the end of the body, or with :meth:`close`.
    """

    def __init__(self, exchange: Exchange, connection: Connection, pool: Pool) -> None:
        self.exchange = exchange
        self._connection: Connection | None = connection
        self._pool = pool
        self._begun = False

    def whole(self) -> list[bytes]:
        """Return a body that has come completely, and give the connection back."""
        body = self.exchange.read_body()
        self.close()
        return [body] if body else []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Return the next piece as soon as it comes.

        The first one may be empty: servers send the head with the first piece, and the head
        of an event stream may be all there is for a while.
        """
        if not self._begun:
            self._begun = True
            return self.exchange.response.take_body()
        try:
            data = self.exchange.read_body()
        except ClientLeftError:
            _log.debug("the client left during a response")
            raise
        except UpstreamError as error:
            failure(error, self._connection)
            raise TruncatedResponseError from error
        except ProxyError as error:
            # The rest of the request's body failed while the response was on its way already.
            raise TruncatedResponseError from error
        if not data:
            self.close()
            raise StopIteration
        return data

    def close(self) -> None:
        """Give the connection back. The pool keeps it if both messages are complete."""
        connection, self._connection = self._connection, None
        if connection is not None:
            reusable = self.exchange.reusable
            self.exchange.response.discard()
            self._pool.release(connection, reusable=reusable)


def refuse_unforwardable(environ: WSGIEnvironment) -> None:
    """Refuse the methods and upgrades that a gateway does not carry (RFC 9110 §7.8 and §9.3)."""
    method = environ["REQUEST_METHOD"]
    if method in REFUSED_METHODS:
        raise ProxyError(HTTPStatus.NOT_IMPLEMENTED, "The gateway does not forward this method.")
    if not is_method(method):
        raise bad_request("The method is not a token.")
    if "websocket" in environ.get("HTTP_UPGRADE", "").lower():
        raise ProxyError(
            HTTPStatus.NOT_IMPLEMENTED,
            "The gateway does not carry WebSockets itself; a server that asks it for"
            " authorization only can.",
        )


def max_forwards(environ: WSGIEnvironment) -> int | None:
    """Return how often an OPTIONS request may be forwarded, ``None`` if it does not say.

    RFC 9110 §7.6.2. Raises a 400 :class:`ProxyError` where it is not a number.
    """
    value: str | None = environ.get("HTTP_MAX_FORWARDS")
    if value is None or environ["REQUEST_METHOD"] != "OPTIONS":
        return None
    if _MAX_FORWARDS.fullmatch(value) is None:
        raise bad_request("Max-Forwards is not a number.")
    return int(value)


def failure(error: UpstreamError, connection: Connection | None = None) -> ProxyError:
    """Log what the upstream did, and return the error for the client."""
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
