"""May this request go on? One decision for every way of running the gateway.

A decision is a value: :class:`Allowed`, :class:`Denied` or :class:`Unavailable`. It says what the
client is told, and what the audit log is told.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import reduce
from time import time
from typing import ClassVar

from gateway.access.routes import Requirement, Routes
from gateway.grants.access import AccessTokens
from gateway.http.bearer import MalformedBearer, bearer_token, challenge
from gateway.http.path_reasons import PathReason
from gateway.http.paths import RefusedPath, readings
from gateway.http.targets import normal_host, second_target
from gateway.observe.audit import Value
from gateway.store.redis_client import StoreUnavailable
from gateway.tokens.grant import AccessToken


class RequestReason(StrEnum):
    """Why a request is refused, but for its path: the names that docs/audit.md lists."""

    NO_CREDENTIALS = "no_credentials"
    MALFORMED_BEARER = "malformed_bearer"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a reason, not a token
    INSUFFICIENT_SCOPE = "insufficient_scope"
    TARGET = "target"
    NO_ROUTE = "no_route"
    NOT_SERVED = "not_served"
    STORE_UNAVAILABLE = "store_unavailable"


@dataclass(frozen=True, slots=True)
class Allowed:
    """The request goes on; ``token`` is ``None`` on a public route."""

    allowed: ClassVar[bool] = True

    token: AccessToken | None

    def audit_members(self) -> dict[str, Value]:
        """Return whose token it is."""
        return {} if self.token is None else _token_members(self.token)


@dataclass(frozen=True, slots=True)
class Denied:
    """The request ends here, with ``status`` and RFC 6750's ``error`` (§3.1) if there is one.

    ``challenge_helps`` tells whether another token could change that. ``token`` is the valid
    token that was not enough, if that is the reason. ``grant_id`` is the grant of a token that is
    valid no more.
    """

    allowed: ClassVar[bool] = False

    status: int
    error: str | None
    description: str
    why: RequestReason | PathReason
    scope: str = ""
    token: AccessToken | None = None
    grant_id: str | None = None
    challenge_helps: bool = True

    def challenge(self, realm: str) -> str | None:
        """Return the WWW-Authenticate value, ``None`` where no token would help."""
        if not self.challenge_helps:
            return None
        return challenge(realm, self.error, self.description, self.scope)

    def audit_members(self) -> dict[str, Value]:
        """Return the reason, and whose token it is, as far as that is known."""
        whose: dict[str, Value] = {"grant_id": self.grant_id}
        if self.token is not None:
            whose = _token_members(self.token)
        return {"status": self.status, "why": self.why, **whose}


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The store gave no answer, so nothing is known of the token. It is no fault of the client's.

    ``retry_after`` are the seconds after which the client should try again.
    """

    allowed: ClassVar[bool] = False

    status: int = 503
    error: str = "temporarily_unavailable"
    description: str = "The service cannot answer at the moment. Please try again."
    why: RequestReason = RequestReason.STORE_UNAVAILABLE
    retry_after: int = 1

    def audit_members(self) -> dict[str, Value]:
        """Return the reason."""
        return {"status": self.status, "why": self.why}


NO_CREDENTIALS = Denied(401, None, "An access token is required.", RequestReason.NO_CREDENTIALS)
MALFORMED_HEADER = Denied(
    400,
    "invalid_request",
    "The Authorization header is malformed.",
    RequestReason.MALFORMED_BEARER,
)
INVALID_TOKEN = Denied(
    401,
    "invalid_token",
    "The access token is invalid, expired or revoked.",
    RequestReason.INVALID_TOKEN,
)
NO_ROUTE = Denied(
    403,
    "access_denied",
    "Nothing is served under this path.",
    RequestReason.NO_ROUTE,
    challenge_helps=False,
)
NOT_SERVED = Denied(
    404,
    "not_found",
    "There is no such document here.",
    RequestReason.NOT_SERVED,
    challenge_helps=False,
)
UNAVAILABLE = Unavailable()
PUBLIC = Allowed(None)

#: What nothing needs: what is put together with it stays what it is.
PUBLIC_REQUIREMENT = Requirement(public=True)

# RFC 8414 §3, RFC 9728 §3, OpenID Connect Discovery §4: where clients look for documents that the
# gateway may not have.
_WELL_KNOWN = tuple(
    f"/.well-known/{name}"
    for name in (
        "oauth-authorization-server",
        "oauth-protected-resource",
        "openid-configuration",
        "openid-federation",
        "jwks.json",
    )
)


def refused_path(why: PathReason) -> Denied:
    """The path has no single meaning, or one that no honest client sends."""
    description = "The path is not acceptable."
    return Denied(400, "invalid_request", description, why, challenge_helps=False)


def refused_target(status: int, error: str, description: str) -> Denied:
    """The request cannot be forwarded, because its target has no single meaning (RFC 9112 §3.2)."""
    return Denied(status, error, description, RequestReason.TARGET, challenge_helps=False)


def insufficient_scope(token: AccessToken, scopes: Sequence[str]) -> Denied:
    """RFC 6750 §3.1: the token is good, its scope is not enough."""
    return Denied(
        403,
        "insufficient_scope",
        "The access token lacks a scope that is needed here.",
        RequestReason.INSUFFICIENT_SCOPE,
        " ".join(scopes),
        token,
    )


def _token_members(token: AccessToken) -> dict[str, Value]:
    return {"client_id": token.client_id, "user": token.user, "grant_id": token.grant_id}


def _without_variation(path: str) -> str:
    return path.rstrip("/").lower()


class Decisions:
    """The decision core: route, then bearer, then scope.

    ``own_paths`` are the paths at which the gateway answers itself, ``own_prefixes`` those below
    which it answers too. It has done so before it decides here. So a path that some server reads
    as one of them is meant for the backend, which may have an endpoint of that name. Many backends
    ignore a slash at the end, some ignore case.
    """

    def __init__(
        self,
        routes: Routes,
        grants: AccessTokens,
        own_paths: Collection[str],
        own_prefixes: Collection[str] = (),
    ) -> None:
        self._routes = routes
        self._grants = grants
        self._own_paths = frozenset(map(_without_variation, own_paths))
        self._own_prefixes = tuple(f"{_without_variation(prefix)}/" for prefix in own_prefixes)

    def decide(
        self,
        method: str,
        path: str,
        authorization: str | None,
        *,
        escaped: bool,
        hosts: Sequence[str] = (),
        destination: str | None = None,
    ) -> Allowed | Denied | Unavailable:
        """Decide about a request: its method, its path, its Authorization header.

        ``escaped`` tells whether ``path`` is raw, with its percent-escapes, or decoded. ``hosts``
        are the Host field, and whatever else says which host is meant. ``destination`` is the
        Destination field (RFC 4918 §10.3). The decision takes one round trip to the store at most.
        """
        try:
            needed = self._requirement(method, readings(path, escaped=escaped), hosts)
            if destination is not None:
                needed = needed.and_also(self._requirement_there(method, destination, hosts))
            if needed.denied:
                return NO_ROUTE
            if needed.public:
                return PUBLIC
            if authorization is None and path.startswith(_WELL_KNOWN):
                # A client looks there to find its way in. A challenge would lead it in a circle.
                return NOT_SERVED
            return self._judge_bearer(needed, authorization)
        except RefusedPath as refused:
            return refused_path(refused.why)
        except StoreUnavailable:
            return UNAVAILABLE

    def still_allows(self, token: AccessToken, authorization: str | None) -> bool:
        """Tell whether a response that is under way may go on: its token was not revoked.

        A token that has expired meanwhile ends no response, and a silent store does not either.
        """
        if time() >= token.expires_at:
            return True
        try:
            presented = bearer_token(authorization)
            return presented is not None and self._grants.access_token(presented) is not None
        except StoreUnavailable:
            return True

    def _requirement(self, method: str, paths: Sequence[str], hosts: Sequence[str]) -> Requirement:
        """Return what the route needs, under every host that is told. Raises RefusedPath."""
        for path in map(_without_variation, paths):
            if path in self._own_paths or path.startswith(self._own_prefixes):
                raise RefusedPath(PathReason.OWN)
        if not self._routes.name_hosts:
            return self._routes.requirement(method, paths)
        each_host = dict.fromkeys(map(normal_host, filter(None, hosts or ("",)))) or {"": None}
        return reduce(
            Requirement.and_also,
            (self._routes.requirement(method, paths, host) for host in each_host),
        )

    def _requirement_there(
        self, method: str, destination: str, hosts: Sequence[str]
    ) -> Requirement:
        """Return what the second target of a request needs: it is written to."""
        target = second_target(method, destination)
        if target is None:
            return PUBLIC_REQUIREMENT
        paths = readings(target.path, escaped=True)
        there = [target.host] if target.host else hosts
        return self._requirement(method, paths, there).and_also(
            self._requirement("PUT", paths, there)
        )

    def _judge_bearer(self, needed: Requirement, authorization: str | None) -> Allowed | Denied:
        """Judge the bearer token and its scope. Raises StoreUnavailable."""
        try:
            presented = bearer_token(authorization)
        except MalformedBearer:
            return MALFORMED_HEADER
        if presented is None:
            return NO_CREDENTIALS
        token = self._grants.access_token(presented)
        if token is None:
            return replace(INVALID_TOKEN, grant_id=self._grants.grant_id_of(presented))
        if needed.scopes and not token.scopes.issuperset(needed.scopes):
            return insufficient_scope(token, needed.scopes)
        return Allowed(token)
