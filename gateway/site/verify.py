"""The verify endpoint: the decision for a reverse proxy that forwards by itself.

nginx (``auth_request``), Caddy (``forward_auth``), Traefik and Envoy ask here before they
forward. The response is 200 with the identity headers, or the 401, 403, 400 or 503 that the
request itself would get. Headers tell the method and target of that request. They count only from
a trusted proxy, since any client can send them. ``docs/deploy.md`` says what a proxy must do for
its part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from werkzeug.wrappers import Response

from gateway.access.decisions import Allowed, Decisions, Denied, Unavailable, refused_path
from gateway.access.identity import IdentityHeaders
from gateway.config.settings import Settings
from gateway.http.client_socket import HEADER_LINES
from gateway.http.header_policy import REFUSED_METHODS, is_method
from gateway.http.judged_request import JudgedRequest, sent_path
from gateway.http.path_reasons import PathReason
from gateway.http.request_target import is_host, is_origin_form, raw_target
from gateway.observe.audit import Audit
from gateway.site.cross_origin import CrossOrigin
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.responses import NO_STORE, error_response, refusal_response

_URL = "HTTP_X_ORIGINAL_URL"
# Each proxy sends a method and a target: nginx by custom the first pair, and its ingress for
# Kubernetes the same with a URL as the target; all others the second pair.
_PAIRS = (
    ("HTTP_X_ORIGINAL_METHOD", ("HTTP_X_ORIGINAL_URI", _URL)),
    ("HTTP_X_FORWARDED_METHOD", ("HTTP_X_FORWARDED_URI",)),
)

_HOST_KEYS = ("HTTP_X_FORWARDED_HOST", "HTTP_X_ORIGINAL_HOST", "HTTP_HOST")

_TARGET_LINES = ("X-ORIGINAL-URI", "X-ORIGINAL-URL", "X-FORWARDED-URI")

# The client chooses its Host, so a URL in which a host is not followed by a path means nothing:
# `Host: app?` would make a query of the path that is asked for.
_URL_WITH_PATH = re.compile(r"https?://([^/?#]*[^/?#:])(/.*)?", re.IGNORECASE | re.DOTALL)
_SECOND_URL = re.compile(r",\s*[A-Za-z][A-Za-z0-9+.\-]*://")


class VerifyReason(StrEnum):
    """Why a question of a proxy has no decision: the names that docs/audit.md lists."""

    UNTRUSTED_PROXY = "untrusted_proxy"
    MISSING_ORIGINAL = "missing_original"
    CONTRADICTORY_ORIGINAL = "contradictory_original"
    MALFORMED_METHOD = "malformed_method"
    METHOD = "method"


class NotAsked(Exception):  # noqa: N818 - says what is wrong
    """The proxy asked about no request that could be decided; ``why`` is for the audit log."""

    def __init__(self, why: VerifyReason) -> None:
        super().__init__(why)
        self.why = why


class OriginalRequest(NamedTuple):
    """The request that the proxy asks about: its method, and its raw target."""

    method: str
    target: str


def original_request(request: EndpointRequest, verify_paths: Sequence[str]) -> OriginalRequest:
    """Return the request that a trusted proxy asks about. Raises NotAsked."""
    if not request.from_trusted_proxy:
        raise NotAsked(VerifyReason.UNTRUSTED_PROXY)
    original = _one_pair(request, verify_paths)
    if not is_method(original.method):
        # WSGI joins repeated headers with a comma, and no method has one. So this finds a proxy
        # that adds its headers to the client's, where it should overwrite them.
        raise NotAsked(VerifyReason.MALFORMED_METHOD)
    if original.method in REFUSED_METHODS:
        # The gateway forwards no such method, so it lets no other proxy forward one.
        raise NotAsked(VerifyReason.METHOD)
    if _is_joined(request, original.target):
        raise NotAsked(VerifyReason.CONTRADICTORY_ORIGINAL)
    return original


def _prefixed(request: EndpointRequest, verify_paths: Sequence[str]) -> OriginalRequest | None:
    """Return the request whose method and target the proxy has put behind a verify path.

    Envoy's ``path_prefix`` does so. Raises NotAsked where the server does not tell how the target
    was written.
    """
    if request.path in verify_paths:
        return None
    raw = raw_target(request.environ)
    for path in verify_paths:
        if raw.startswith(f"{path}/"):
            return OriginalRequest(request.method, raw.removeprefix(path))
    raise NotAsked(VerifyReason.MISSING_ORIGINAL)


def _one_pair(request: EndpointRequest, verify_paths: Sequence[str]) -> OriginalRequest:
    """Return the request that the proxy told of. Raises NotAsked.

    A proxy sets one pair of headers, or a prefix, and may let the client's own headers of the
    other pair through. So half a pair is not enough, and all that is told must agree.
    """
    pairs = {
        OriginalRequest(request.environ.get(method, ""), target)
        for method, names in _PAIRS
        for target in _targets(request, names)
    } - {("", "")}
    if (prefixed := _prefixed(request, verify_paths)) is not None:
        pairs.add(prefixed)
    if not pairs or not all(method and target for method, target in pairs):
        raise NotAsked(VerifyReason.MISSING_ORIGINAL)
    if len(pairs) > 1:
        raise NotAsked(VerifyReason.CONTRADICTORY_ORIGINAL)
    return pairs.pop()


def _targets(request: EndpointRequest, names: Sequence[str]) -> set[str]:
    """Return the targets that headers of these names have, '' if there are none.

    More than one is a contradiction: one of them may be the client's own.
    """
    values = {name: request.environ.get(name, "") for name in names}
    if url := values.get(_URL):
        match = _URL_WITH_PATH.fullmatch(url)
        if match is not None and is_host(match.group(1)):
            # RFC 9112 §3.2.1: a URL without a path means the path '/'.
            values[_URL] = match.group(2) or "/"
    return set(filter(None, values.values())) or {""}


def _is_joined(request: EndpointRequest, target: str) -> bool:
    """Tell whether the target may have been made of two headers of one name."""
    lines = request.environ.get(HEADER_LINES)
    if lines is None:
        # Anywhere in the target: its query may be the end of the first header.
        return ",/" in target or bool(_SECOND_URL.search(request.environ.get(_URL, "")))
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
        self._paths = settings.endpoints.verify
        self._audit = audit
        self._cross_origin = CrossOrigin(settings.cors.origins)

    def __call__(self, request: EndpointRequest) -> Response:
        """Return 200 with the identity headers, or the refusal to hand to the client."""
        try:
            original = original_request(request, self._paths)
        except NotAsked as fault:
            self._audit.record("verify", outcome="refused", why=fault.why, address=request.address)
            return error_response(403, "access_denied", "Nothing that can be decided was asked.")
        decision = self._decide(original, request)
        judged = JudgedRequest(original.method, sent_path(original.target), request.address)
        self._audit.decision(judged, decision)
        if not isinstance(decision, Allowed):
            return self._refuse(decision, request)
        identity = self._identity.headers(decision.token) if decision.token else ()
        # No proxy's cache may keep it: the token may be revoked the next moment.
        return Response(b"", 200, (*NO_STORE, *identity))

    def _refuse(self, refusal: Denied | Unavailable, request: EndpointRequest) -> Response:
        response = refusal_response(refusal, self._realm)
        response.headers.extend(self._cross_origin.headers(request.environ))
        return response

    def _decide(
        self, original: OriginalRequest, request: EndpointRequest
    ) -> Allowed | Denied | Unavailable:
        if not is_origin_form(original.target):
            # The gateway forwards no such target, so it lets no other proxy forward one.
            return refused_path(PathReason.NOT_A_PATH)
        path = original.target.partition("?")[0]
        # Each proxy tells the host in its own way, so every one of these counts.
        hosts = [request.environ.get(key, "") for key in _HOST_KEYS]
        return self._decisions.decide(
            original.method,
            path,
            request.authorization,
            escaped=True,
            hosts=hosts,
            destination=request.environ.get("HTTP_DESTINATION"),
        )
