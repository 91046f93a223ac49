"""The gateway as one WSGI callable.

A request's way, top to bottom in :meth:`OAuthGateway.__call__`::

    request → own endpoint? → route → bearer → identity → backend
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gateway.access.decisions import (
    Allowed,
    Denied,
    Unavailable,
    refused_path,
    refused_target,
)
from gateway.access.identity import is_for_backend
from gateway.assembly import WSGIApplication, gateway
from gateway.config.settings import Settings
from gateway.http.header_policy import environ_key
from gateway.http.judged_request import judged_request
from gateway.http.path_reasons import PathReason
from gateway.http.paths import RefusedPath
from gateway.http.proxy_errors import ProxyError, respond
from gateway.http.request_target import request_target
from gateway.site.cross_origin import CrossOrigin
from gateway.site.responses import refusal_response
from gateway.store.format_check import UnreadableStoreError, claim_format

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class OAuthGateway:
    """Protects a WSGI application: nothing reaches it without a decision.

    ``app`` is any WSGI application, ``settings`` what :func:`gateway.load_config` returns.
    The application finds who asks in ``REMOTE_USER``, in the configured headers, and as an
    :class:`~gateway.tokens.grant.AccessToken` in ``environ["gateway.token"]``.

    ``raw_target`` says that the backend is sent the raw request target, as a proxy does it,
    and not WSGI's decoded path. The gateway then judges the raw target. Raises
    EmbeddedStoreError if an embedded store is configured and cannot run here, and
    UnreadableStoreError if a gateway that is too new for this one has written to the store.
    """

    def __init__(
        self, app: WSGIApplication, settings: Settings, *, raw_target: bool = False
    ) -> None:
        self._app = app
        self._realm = settings.issuer
        self._cross_origin = CrossOrigin(settings.cors.origins)
        self._raw_target = raw_target
        self._parts = gateway(settings, app)
        self._pass_authorization = settings.upstream.pass_authorization
        # A proxied backend gets these from the proxy, in place of the client's own.
        added = {} if raw_target else settings.upstream.headers
        self._added = {environ_key(name): value for name, value in added.items()}
        self._parts.redis.open()
        try:
            claim_format(self._parts.redis, settings.store.key_prefix)
        except UnreadableStoreError:
            self.close()
            raise
        # This logs the warnings. If the store does not answer yet, the health probe asks again.
        self._parts.store_diagnostics.warnings()

    def close(self) -> None:
        """Give up the store's connections; an embedded store ends with its last gateway."""
        self._parts.redis.close()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, refuse or forward one request (PEP 3333)."""
        self._parts.redis.start_request_budget()
        try:
            path = self._path(environ)
        except ProxyError as fault:
            return self._refuse_target(fault, environ, start_response)
        except RefusedPath as refused:
            return self._refuse(refused_path(refused.why), environ, start_response)
        # own endpoint?
        if path in self._parts.endpoints:
            return self._parts.endpoints.answer(environ, path)(environ, start_response)
        # route, bearer
        decision = self._decide(environ, path)
        if not isinstance(decision, Allowed):
            return self._refuse(decision, environ, start_response)
        self._audit(environ, decision)
        # identity
        self._remove_claims(environ, is_public=decision.token is None)
        self._parts.identity.write(environ, decision.token)
        # backend
        return self._app(environ, start_response)

    def _path(self, environ: Environ) -> str:
        """Return the path that the backend will see, as it will see it.

        Raises RefusedPath where the client says how to divide it, and
        ProxyError where the server does not tell how the path was written.
        """
        if self._raw_target:
            target = environ["gateway.target"] = request_target(environ)
            return target.partition("?")[0]
        if "HTTP_SCRIPT_NAME" in environ or "HTTP_PATH_INFO" in environ:
            # gunicorn takes these headers for WSGI's own variables, from a loopback peer.
            raise RefusedPath(PathReason.DIVIDED_BY_CLIENT)
        return str(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))

    def _decide(self, environ: Environ, path: str) -> Allowed | Denied | Unavailable:
        return self._parts.decisions.decide(
            environ["REQUEST_METHOD"],
            path,
            environ.get("HTTP_AUTHORIZATION"),
            escaped=self._raw_target,
        )

    def _remove_claims(self, environ: Environ, *, is_public: bool) -> None:
        """Remove what the client says of itself, and add the operator's headers."""
        trusted = self._parts.proxies.trusts(environ.get("REMOTE_ADDR", ""))
        self._parts.identity.remove(environ, from_trusted_proxy=trusted)
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        if not (self._pass_authorization or (is_public and is_for_backend(authorization))):
            environ.pop("HTTP_AUTHORIZATION", None)
        environ.update(self._added)

    def _refuse(
        self, refusal: Denied | Unavailable, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        self._audit(environ, refusal)
        response = refusal_response(refusal, self._realm)
        response.headers.extend(self._cross_origin.headers(environ))
        return response(environ, start_response)

    def _refuse_target(
        self, fault: ProxyError, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        self._audit(environ, refused_target(fault.status, fault.error, fault.description))
        return respond(fault, environ, start_response)

    def _audit(self, environ: Environ, decision: Allowed | Denied | Unavailable) -> None:
        request = judged_request(environ, self._parts.proxies.client_of(environ))
        self._parts.audit.decision(request, decision)
