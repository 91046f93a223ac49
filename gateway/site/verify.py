"""The verify endpoint: the decision for a reverse proxy that forwards by itself.

nginx (``auth_request``), Caddy (``forward_auth``), Traefik and Envoy ask here before they
forward: 200 with the identity headers, or 401, 403 and 400 as the request itself would get.
What the original request was is told in headers; they count only from a trusted proxy,
since anybody could send them. ``docs/deploy.md`` says what a proxy must do for its part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from werkzeug.wrappers import Response

from gateway.access.decisions import Decisions, Denied, refused_path
from gateway.access.identity import IdentityHeaders
from gateway.config.settings import Settings
from gateway.http.client_socket import HEADER_LINES
from gateway.http.forwarding import request_target
from gateway.http.paths import RefusedPath, readings
from gateway.http.proxy_errors import ProxyError
from gateway.observe.audit import Audit
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.responses import NO_STORE, denied_response, error_response
from gateway.tokens.grant import AccessToken

# Each proxy has its own pair of names: nginx by custom the first, all others the second.
_PAIRS = (
    ("HTTP_X_ORIGINAL_METHOD", "HTTP_X_ORIGINAL_URI"),
    ("HTTP_X_FORWARDED_METHOD", "HTTP_X_FORWARDED_URI"),
)

_TARGET_LINES = ("X-ORIGINAL-URI", "X-FORWARDED-URI")

#: The gateway forwards none of these, so it lets no other proxy forward them.
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})

#: RFC 9110 §9.1.
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class OriginalRequest:
    """The request that the proxy asks about: its method, and its raw target."""

    method: str
    target: str

    @property
    def path(self) -> str:
        """The raw path."""
        return self.target.partition("?")[0]

    def readings(self) -> tuple[str, ...]:
        """Return every way to read the path. Raises RefusedPath, as the request itself would."""
        if not self.target.startswith("/"):
            raise RefusedPath("not_a_path")
        try:
            request_target({"RAW_URI": self.target})
        except ProxyError:
            # The gateway forwards no such target, so it lets no other proxy forward it.
            raise RefusedPath("not_a_path") from None
        return readings(self.path, escaped=True)


class NotAsked(Exception):  # noqa: N818 - says what is wrong
    """Nothing that can be answered was asked; ``why`` is for the audit log."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def original_request(request: EndpointRequest) -> OriginalRequest:
    """Return the request that a trusted proxy asks about.

    A proxy sets one pair of names and may let the client's own headers of the other pair
    through. So half a pair is not enough, and two pairs must agree. Raises NotAsked.
    """
    if not request.from_trusted_proxy:
        raise NotAsked("untrusted_proxy")
    asked = {
        (request.environ.get(method, ""), request.environ.get(target, ""))
        for method, target in _PAIRS
    } - {("", "")}
    if not asked or not all(method and target for method, target in asked):
        raise NotAsked("missing_original")
    if len(asked) > 1:
        raise NotAsked("contradictory_original")
    original = OriginalRequest(*asked.pop())
    if _METHOD.fullmatch(original.method) is None:
        # WSGI joins repeated headers with a comma. No method has one, so this tells a proxy
        # that adds its headers to the client's from one that overwrites them.
        raise NotAsked("malformed_method")
    if original.method in _REFUSED_METHODS:
        raise NotAsked("method")
    if _is_joined(request, original.target):
        raise NotAsked("contradictory_original")
    return original


def _is_joined(request: EndpointRequest, target: str) -> bool:
    """Tell whether the target may have been made of two headers of one name."""
    lines = request.environ.get(HEADER_LINES)
    if lines is None:
        # Anywhere in it: what looks like its query may be the end of the first one.
        return ",/" in target
    names = [name for name, _ in lines]
    return any(names.count(name) > 1 for name in _TARGET_LINES)


class VerifyEndpoint:
    """Answers a reverse proxy with the decision about the original request."""

    def __init__(
        self, decisions: Decisions, identity: IdentityHeaders, settings: Settings, audit: Audit
    ) -> None:
        self._decisions = decisions
        self._identity = identity
        self._realm = settings.issuer
        self._audit = audit

    def __call__(self, request: EndpointRequest) -> Response:
        """200 with the identity headers, or the answer to give. Raises StoreUnavailable."""
        try:
            original = original_request(request)
            ways = original.readings()
        except NotAsked as fault:
            self._audit.record("verify", outcome="refused", why=fault.why, address=request.address)
            return error_response(403, "access_denied", "Nothing that can be decided was asked.")
        except RefusedPath as refused:
            return self._denied(request, original, refused_path(refused.why))
        decision = self._decisions.decide(original.method, ways, request.authorization)
        if isinstance(decision, Denied):
            return self._denied(request, original, decision)
        token = decision.token
        if self._audit.requests:
            self._audit.record("request", outcome="allowed", **_members(request, original, token))
        # Never kept by a proxy's cache: a token may be revoked the next moment.
        return Response(b"", 200, (*NO_STORE, *(self._identity.headers(token) if token else ())))

    def _denied(
        self, request: EndpointRequest, original: OriginalRequest, denied: Denied
    ) -> Response:
        self._audit.record(
            "request",
            outcome="refused",
            status=denied.status,
            why=denied.why,
            **_members(request, original, denied.token, denied.grant_id),
        )
        return denied_response(denied, self._realm)


def _members(
    request: EndpointRequest,
    original: OriginalRequest,
    token: AccessToken | None,
    grant_id: str | None = None,
) -> dict[str, str | None]:
    return {
        "method": original.method,
        "path": original.path,
        "client_id": token.client_id if token else None,
        "user": token.user if token else None,
        "grant_id": token.grant_id if token else grant_id,
        "address": request.address,
    }
