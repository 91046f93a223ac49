"""The verify endpoint: the decision for a reverse proxy that forwards by itself.

nginx (``auth_request``), Caddy (``forward_auth``), Traefik and Envoy ask here before they
forward: 200 with the identity headers, or 401, 403 and 400 as the request itself would get.
What the original request was is told in headers; they count only from a trusted proxy,
since anybody could send them.
"""

from __future__ import annotations

from dataclasses import dataclass

from werkzeug.wrappers import Response

from gateway.answers import denied_answer, error_answer
from gateway.audit import Audit
from gateway.config import Settings
from gateway.decisions import Decisions, Denied, refused_path
from gateway.identity import IdentityHeaders
from gateway.own_request import OwnRequest
from gateway.paths import RefusedPath, readings
from gateway.token_store import AccessToken

# Each proxy has its own pair of names.
_TARGETS = ("HTTP_X_ORIGINAL_URI", "HTTP_X_FORWARDED_URI")
_METHODS = ("HTTP_X_ORIGINAL_METHOD", "HTTP_X_FORWARDED_METHOD")


@dataclass(frozen=True, slots=True)
class OriginalRequest:
    """The request that the proxy asks about: its method, and its raw path without the query."""

    method: str
    path: str


class NotAsked(Exception):  # noqa: N818 - says what is wrong
    """Nothing that can be answered was asked; ``why`` is for the audit log."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def original_request(request: OwnRequest) -> OriginalRequest:
    """Return the request that a trusted proxy asks about.

    A proxy sets one pair of names and may let the client's own headers of the other pair
    through. So where both are there they must agree. Raises NotAsked.
    """
    if not request.from_trusted_proxy:
        raise NotAsked("untrusted_proxy")
    target = _agreed(request, _TARGETS)
    method = _agreed(request, _METHODS)
    if not target.startswith("/"):
        raise NotAsked("not_origin_form")
    return OriginalRequest(method, target.partition("?")[0])


def _agreed(request: OwnRequest, keys: tuple[str, ...]) -> str:
    values = {request.environ[key] for key in keys if request.environ.get(key)}
    if len(values) != 1:
        raise NotAsked("contradictory_original" if values else "missing_original")
    return str(values.pop())


class VerifyEndpoint:
    """Answers a reverse proxy with the decision about the original request."""

    def __init__(
        self, decisions: Decisions, identity: IdentityHeaders, settings: Settings, audit: Audit
    ) -> None:
        self._decisions = decisions
        self._identity = identity
        self._realm = settings.issuer
        self._audit = audit

    def __call__(self, request: OwnRequest) -> Response:
        """200 with the identity headers, or the answer to give. Raises StoreUnavailable."""
        try:
            original = original_request(request)
            needed = readings(original.path, escaped=True)
        except NotAsked as fault:
            self._audit.record("verify", outcome="refused", why=fault.why, address=request.address)
            return error_answer(403, "access_denied", "Nothing that can be decided was asked.")
        except RefusedPath as refused:
            return self._denied(request, original, refused_path(refused.why))
        decision = self._decisions.decide(original.method, needed, request.authorization)
        if isinstance(decision, Denied):
            return self._denied(request, original, decision)
        token = decision.token
        if self._audit.requests:
            self._audit.record("request", outcome="allowed", **_members(request, original, token))
        return Response(b"", 200, self._identity.headers(token) if token else ())

    def _denied(self, request: OwnRequest, original: OriginalRequest, denied: Denied) -> Response:
        self._audit.record(
            "request",
            outcome="refused",
            status=denied.status,
            why=denied.why,
            **_members(request, original, denied.token),
        )
        return denied_answer(denied, self._realm)


def _members(
    request: OwnRequest, original: OriginalRequest, token: AccessToken | None
) -> dict[str, str | None]:
    return {
        "method": original.method,
        "path": original.path,
        "client_id": token.client_id if token else None,
        "user": token.user if token else None,
        "grant_id": token.grant_id if token else None,
        "address": request.address,
    }
