"""The gateway as one WSGI callable.

A request's way, top to bottom in :meth:`OAuthGateway.__call__`::

    request → own endpoint? → route → bearer → identity → backend
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
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
from gateway.http.client_socket import STILL_ALLOWED
from gateway.http.header_policy import environ_key
from gateway.http.judged_request import judged_request
from gateway.http.path_reasons import PathReason
from gateway.http.paths import RefusedPath
from gateway.http.proxy_errors import ProxyError, respond
from gateway.http.request_target import request_target
from gateway.site.browser_session import own_cookie_names, without_own_cookies
from gateway.site.cross_origin import CrossOrigin
from gateway.site.responses import redirect_response, refusal_response
from gateway.store.format_check import UnreadableStoreError, claim_format
from gateway.store.key_check import claim_secret_keys
from gateway.tokens.grant import AccessToken

#: The headers that middlewares make SCRIPT_NAME of.
_PREFIX_KEYS = frozenset(
    {
        "HTTP_X_FORWARDED_PATH",
        "HTTP_X_FORWARDED_PREFIX",
        "HTTP_X_FORWARDED_SCRIPT_NAME",
        "HTTP_X_SCRIPT_NAME",
    }
)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]


class OAuthGateway:
    """Protects a WSGI application: nothing reaches it without a decision.

    ``app`` is any WSGI application, ``settings`` what :func:`gateway.load_config` returns.
    The application finds who asks in ``REMOTE_USER``, in the configured headers, and as an
    :class:`~gateway.tokens.grant.AccessToken` in ``environ["gateway.token"]``. While it sends a
    long response, ``environ["gateway.still_allowed"]()`` tells whether the token was revoked since.

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
        self._own_cookies = own_cookie_names(settings)
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
        claim_secret_keys(self._parts.redis, settings)
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
        if self._parts.endpoints.serve(path):
            return self._parts.endpoints.answer(environ, path)(environ, start_response)
        # route, bearer
        decision = self._decide(environ, path)
        if not isinstance(decision, Allowed):
            if isinstance(decision, Denied) and decision.why is PathReason.OWN:
                return self._lead_to_own(path, decision, environ, start_response)
            return self._refuse(decision, environ, start_response)
        self._audit(environ, decision)
        if decision.token is not None:
            authorization = environ.get("HTTP_AUTHORIZATION")
            environ[STILL_ALLOWED] = partial(self._still_allowed, decision.token, authorization)
        # identity
        self._write_identity(environ, decision.token)
        # backend
        return self._app(environ, without_own_cookies(start_response, self._own_cookies))

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
        return self._mount_point(environ) + str(environ.get("PATH_INFO", ""))

    def _mount_point(self, environ: Environ) -> str:
        """Return where the application is mounted, '' where the client may have said so.

        werkzeug's ProxyFix and its like make SCRIPT_NAME of a header. It counts from a trusted
        proxy alone: a client would put a public prefix before every path.
        """
        script_name = str(environ.get("SCRIPT_NAME", ""))
        if not script_name or _PREFIX_KEYS.isdisjoint(environ):
            return script_name
        before: Environ = environ.get("werkzeug.proxy_fix.orig", {})
        peer = before.get("REMOTE_ADDR") or environ.get("REMOTE_ADDR", "")
        if self._parts.proxies.trusts(peer):
            return script_name
        return str(before.get("SCRIPT_NAME", ""))

    def _decide(self, environ: Environ, path: str) -> Allowed | Denied | Unavailable:
        return self._parts.decisions.decide(
            environ["REQUEST_METHOD"],
            path,
            environ.get("HTTP_AUTHORIZATION"),
            escaped=self._raw_target,
            hosts=(environ.get("HTTP_HOST", ""), environ.get("HTTP_X_FORWARDED_HOST", "")),
            destination=environ.get("HTTP_DESTINATION"),
        )

    def _still_allowed(self, token: AccessToken, authorization: str | None) -> bool:
        """Tell whether a request that was allowed may go on: its token is not revoked since."""
        self._parts.redis.start_request_budget()
        return self._parts.decisions.still_allows(token, authorization)

    def _write_identity(self, environ: Environ, token: AccessToken | None) -> None:
        """Replace the client's words about itself by the gateway's and the operator's."""
        trusted = self._parts.proxies.trusts(environ.get("REMOTE_ADDR", ""))
        self._parts.identity.remove(environ, from_trusted_proxy=trusted)
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        if not (self._pass_authorization or (token is None and is_for_backend(authorization))):
            environ.pop("HTTP_AUTHORIZATION", None)
        environ.update(self._added)
        self._parts.identity.write(environ, token)

    def _refuse(
        self, refusal: Denied | Unavailable, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        self._audit(environ, refusal)
        response = refusal_response(refusal, self._realm)
        response.headers.extend(self._cross_origin.headers(environ))
        return response(environ, start_response)

    def _lead_to_own(
        self, path: str, refusal: Denied, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Send a browser that asked for a page of the gateway in another spelling to that page."""
        page = self._parts.endpoints.page_like(path)
        if page is None or environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return self._refuse(refusal, environ, start_response)
        query = environ.get("QUERY_STRING", "")
        location = f"{page}?{query}" if query else page
        return redirect_response(location, 302)(environ, start_response)

    def _refuse_target(
        self, fault: ProxyError, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        self._audit(environ, refused_target(fault.status, fault.error, fault.description))
        return respond(fault, environ, start_response)

    def _audit(self, environ: Environ, decision: Allowed | Denied | Unavailable) -> None:
        if self._parts.audit.logs(decision):
            request = judged_request(environ, self._parts.proxies.client_of(environ))
            self._parts.audit.decision(request, decision)
