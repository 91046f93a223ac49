"""Every path that the gateway answers itself, and the one place where faults become responses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from werkzeug.wrappers import Response

from gateway.access.decisions import UNAVAILABLE
from gateway.config.settings import Settings
from gateway.http.peers import TrustedProxies
from gateway.observe.audit import Audit
from gateway.protocol.errors import OAuthError
from gateway.protocol.reasons import Why
from gateway.site.cross_origin import ANY_ORIGIN, preflight_headers
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.pages import Pages
from gateway.site.responses import error_response, frappe_response, page_response
from gateway.store.rate_limits import TooMany
from gateway.store.redis_client import StoreUnavailable
from gateway.users.sign_in_method import BackendUnreachable

logger = logging.getLogger("gateway.endpoints")

Handler = Callable[[EndpointRequest], Response]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its handler, its methods (``None``: all of them), and its callers.

    ``for_people`` makes its errors pages instead of JSON. ``cross_origin`` lets scripts of other
    origins call it. ``below``: it answers at every path below its own as well.
    """

    name: str
    handler: Handler
    methods: tuple[str, ...] | None
    for_people: bool = False
    cross_origin: bool = False
    below: bool = False


class Dispatcher:
    """Finds the endpoint of a path, and turns every fault of its handler into a response."""

    def __init__(self, settings: Settings, pages: Pages, audit: Audit) -> None:
        self._issuer = settings.issuer
        self._form_bytes = settings.limits.form_bytes
        self._proxies = TrustedProxies(settings.server.trusted_proxies)
        self._pages = pages
        self._audit = audit
        self._endpoints: dict[str, Endpoint] = {}
        self._prefixes: tuple[str, ...] = ()
        self._pages_like: dict[str, str] = {}

    def add(self, paths: tuple[str, ...], endpoint: Endpoint) -> None:
        """Let ``endpoint`` answer at every one of ``paths``, and below them if it says so."""
        for path in paths:
            self._endpoints[path] = endpoint
            if endpoint.below:
                self._prefixes += (f"{path}/",)
            if endpoint.for_people:
                self._pages_like[path.rstrip("/").lower()] = path

    def serve(self, path: str) -> bool:
        """Tell whether the gateway answers at ``path`` itself."""
        return path in self._endpoints or path.startswith(self._prefixes)

    def page_like(self, path: str) -> str | None:
        """Return the path of the page for people that differs in case or a slash at the end."""
        return self._pages_like.get(path.rstrip("/").lower())

    def __iter__(self) -> Iterator[str]:
        """Yield every path."""
        return iter(self._endpoints)

    def answer(self, environ: dict[str, Any], path: str) -> Response:
        """Return the response to a request for one of the gateway's own paths."""
        endpoint = self._endpoints.get(path) or self._endpoint_above(path)
        request = EndpointRequest(
            environ,
            path,
            self._proxies,
            self._form_bytes,
        )
        response = self._answer(endpoint, request)
        if endpoint.cross_origin:
            response.headers.extend(ANY_ORIGIN)
        return response

    def _endpoint_above(self, path: str) -> Endpoint:
        prefix = next(each for each in self._prefixes if path.startswith(each))
        return self._endpoints[prefix.removesuffix("/")]

    def _answer(self, endpoint: Endpoint, request: EndpointRequest) -> Response:
        if endpoint.methods is not None and request.method not in endpoint.methods:
            if endpoint.cross_origin and request.method == "OPTIONS":
                return Response(b"", 204, preflight_headers(request.environ))
            return self._method_not_allowed(endpoint, request)
        if endpoint.for_people and not is_navigation(request):
            self._refused(endpoint, request, Why.NO_NAVIGATION)
            description = "This page is for people: no script and no frame may ask for it."
            return self._error(endpoint, request, 403, "access_denied", description, headers={})
        try:
            return endpoint.handler(request)
        except OAuthError as fault:
            return self._fault(endpoint, request, fault)
        except TooMany as stop:
            self._refused(endpoint, request, Why.TOO_MANY_ATTEMPTS, client_id=stop.client_id)
            headers = {"Retry-After": str(stop.retry_after)}
            return self._error(
                endpoint, request, 429, "invalid_request", "Try later.", headers=headers
            )
        except StoreUnavailable:
            self._refused(endpoint, request, Why.STORE_UNAVAILABLE)
            return self._unavailable(endpoint, request)
        except BackendUnreachable:
            self._refused(endpoint, request, Why.BACKEND_UNREACHABLE)
            return self._unavailable(endpoint, request)

    def _method_not_allowed(self, endpoint: Endpoint, request: EndpointRequest) -> Response:
        headers = {"Allow": ", ".join(endpoint.methods or ())}
        description = f"The method {', '.join(endpoint.methods or ())} is needed here."
        return self._error(endpoint, request, 405, "invalid_request", description, headers=headers)

    def _fault(self, endpoint: Endpoint, request: EndpointRequest, fault: OAuthError) -> Response:
        self._refused(
            endpoint,
            request,
            fault.why,
            error=fault.error,
            client_id=fault.client_id,
            user=fault.user,
            grant_id=fault.grant_id,
            **fault.sent,
        )
        # RFC 6749 §5.2: 401 names the scheme that the client may use.
        basic = {"WWW-Authenticate": f'Basic realm="{self._issuer}"'}
        headers = basic if fault.status == HTTPStatus.UNAUTHORIZED else {}
        return self._error(
            endpoint, request, fault.status, fault.error, fault.description, headers=headers
        )

    def _unavailable(self, endpoint: Endpoint, request: EndpointRequest) -> Response:
        return self._error(
            endpoint,
            request,
            UNAVAILABLE.status,
            UNAVAILABLE.error,
            UNAVAILABLE.description,
            headers={"Retry-After": str(UNAVAILABLE.retry_after)},
        )

    def _error(
        self,
        endpoint: Endpoint,
        request: EndpointRequest,
        status: int,
        error: str,
        description: str,
        *,
        headers: dict[str, str],
    ) -> Response:
        if endpoint.for_people:
            page = self._pages.error(title="That did not work", message=description, detail=error)
            response = page_response(page, status)
            response.headers.extend(headers)
            return response
        if is_frappe_path(request.path) and endpoint.name == "revoke" and status < 500:  # noqa: PLR2004
            # Frappe's documented response; its clients look for nothing else.
            return frappe_response("bad request", status, headers)
        return error_response(status, error, description, headers)

    def _refused(
        self, endpoint: Endpoint, request: EndpointRequest, why: str, **about: str | None
    ) -> None:
        self._audit.record(
            endpoint.name, outcome="refused", why=why, **about, address=request.address
        )


def is_navigation(request: EndpointRequest) -> bool:
    """Tell whether a person goes to a page, as far as the browser says (Fetch Metadata).

    A script of the backend has the origin of the gateway's pages. It could read the confirmation
    page, and answer it for the user. A browser that sends none of these headers goes on.
    """
    mode = request.environ.get("HTTP_SEC_FETCH_MODE", "navigate")
    destination = request.environ.get("HTTP_SEC_FETCH_DEST", "document")
    return (mode, destination) == ("navigate", "document")


def is_frappe_path(path: str) -> bool:
    """Tell whether ``path`` is one of the paths of Frappe's API."""
    return path.startswith("/api/method/")
