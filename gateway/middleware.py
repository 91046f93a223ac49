"""The gateway as one WSGI callable.

A request's way, top to bottom in :meth:`OAuthGateway.__call__`::

    request → own endpoint? → route → bearer → identity → backend
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from gateway.access.decisions import Allowed, Denied, refused_path
from gateway.access.identity import environ_key
from gateway.assembly import WSGIApplication, gateway
from gateway.config.settings import Settings
from gateway.http.forwarding import request_target
from gateway.http.paths import RefusedPath, readings
from gateway.http.peers import client_address, is_trusted
from gateway.http.proxy_errors import ProxyError, respond
from gateway.site.dispatcher import RETRY_AFTER
from gateway.site.responses import denied_response, error_response
from gateway.store.format_check import UnreadableStoreError, claim_format
from gateway.store.redis_client import StoreUnavailable
from gateway.tokens.grant import AccessToken

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class OAuthGateway:
    """Protects a WSGI application: nothing reaches it without a decision.

    ``app`` is any WSGI application, ``settings`` what :func:`gateway.load_config` returns.
    The application finds who asks in ``REMOTE_USER``, in the configured headers, and as an
    :class:`~gateway.tokens.grant.AccessToken` in ``environ["gateway.token"]``.

    ``raw_target`` says that the backend is sent the raw request target, as a proxy does it,
    and not WSGI's decoded path; that one is then judged. Raises EmbeddedStoreError if an
    embedded store is configured and cannot run here, and UnreadableStoreError if a gateway that
    is too new for this one has written to the store.
    """

    def __init__(
        self, app: WSGIApplication, settings: Settings, *, raw_target: bool = False
    ) -> None:
        self._app = app
        self._settings = settings
        self._raw_target = raw_target
        self._parts = gateway(settings, app)
        networks = settings.server.trusted_proxies
        self._is_trusted = lru_cache(maxsize=4096)(lambda peer: is_trusted(peer, networks))
        self._pass_authorization = settings.upstream.pass_authorization
        # A proxied backend is sent these by the proxy, over whatever the client sent.
        self._added = {
            environ_key(name): value
            for name, value in ({} if raw_target else settings.upstream.headers).items()
        }
        self._parts.redis.open()
        try:
            claim_format(self._parts.redis, settings.store.key_prefix)
        except UnreadableStoreError:
            self.close()
            raise
        # Logs them. A store that does not answer yet is asked again by the health probe.
        self._parts.store_diagnostics.warnings()

    def close(self) -> None:
        """Give up the store's connections; an embedded store ends with its last gateway."""
        self._parts.redis.close()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, refuse or forward one request (PEP 3333)."""
        self._parts.redis.start_request_budget()
        try:
            path = self._judged_path(environ)
            if path in self._parts.endpoints:
                return self._parts.endpoints.answer(environ, path)(environ, start_response)
            decision = self._parts.decisions.decide(
                environ["REQUEST_METHOD"],
                readings(path, escaped=self._raw_target),
                environ.get("HTTP_AUTHORIZATION"),
            )
        except RefusedPath as refused:
            decision = refused_path(refused.why)
        except ProxyError as fault:
            self._record(environ, "refused", None, status=fault.status, why="target")
            return respond(fault, environ, start_response)
        except StoreUnavailable:
            return self._unavailable(environ, start_response)
        if isinstance(decision, Denied):
            return self._denied(environ, start_response, decision)
        return self._forward(environ, start_response, decision)

    def _judged_path(self, environ: Environ) -> str:
        """Return the path that the backend will see, as it will see it.

        Raises RefusedPath where the client says how to divide it, and
        ProxyError where the server does not tell how the path was written.
        """
        if not self._raw_target:
            if "HTTP_SCRIPT_NAME" in environ or "HTTP_PATH_INFO" in environ:
                # gunicorn takes these headers for WSGI's own variables, from a loopback peer.
                raise RefusedPath("divided_by_client")
            return str(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
        target = request_target(environ)
        environ["gateway.target"] = target
        return target.partition("?")[0]

    def _forward(
        self, environ: Environ, start_response: StartResponse, allowed: Allowed
    ) -> Iterable[bytes]:
        token = allowed.token
        if self._parts.audit.requests:
            self._record(environ, "allowed", token)
        identity = self._parts.identity
        trusted = self._is_trusted(environ.get("REMOTE_ADDR", ""))
        identity.remove(environ, from_trusted_proxy=trusted)
        if not self._pass_authorization:
            environ.pop("HTTP_AUTHORIZATION", None)
        environ.update(self._added)
        headers: tuple[tuple[str, str], ...] = ()
        if token is not None:
            headers = identity.headers(token)
            for name, value in headers:
                environ[environ_key(name)] = value
            if token.user is not None:
                environ["REMOTE_USER"] = token.user
                environ["AUTH_TYPE"] = "Bearer"
            environ["gateway.token"] = token
        # The proxy sends these last, so that no Connection header of the client's can name
        # them away.
        environ["gateway.identity_headers"] = headers
        return self._app(environ, start_response)

    def _denied(
        self, environ: Environ, start_response: StartResponse, denied: Denied
    ) -> Iterable[bytes]:
        self._record(
            environ,
            "refused",
            denied.token,
            grant_id=denied.grant_id,
            status=denied.status,
            why=denied.why,
        )
        return denied_response(denied, self._settings.issuer)(environ, start_response)

    def _unavailable(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self._record(environ, "refused", None, status=503, why="store_unavailable")
        return error_response(
            503,
            "temporarily_unavailable",
            "The service cannot answer at the moment. Please try again.",
            {"Retry-After": str(RETRY_AFTER)},
        )(environ, start_response)

    def _record(
        self,
        environ: Environ,
        outcome: str,
        token: AccessToken | None,
        *,
        grant_id: str | None = None,
        **members: str | int,
    ) -> None:
        self._parts.audit.record(
            "request",
            outcome=outcome,
            method=environ["REQUEST_METHOD"],
            path=str(environ.get("PATH_INFO", "")),
            client_id=token.client_id if token else None,
            user=token.user if token else None,
            grant_id=token.grant_id if token else grant_id,
            address=client_address(
                environ.get("REMOTE_ADDR", ""),
                environ.get("HTTP_X_FORWARDED_FOR", ""),
                self._settings.server.trusted_proxies,
            ),
            **members,
        )
