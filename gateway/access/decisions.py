"""May this request go on? One decision for every way of running the gateway.

A decision is a value: :class:`Allowed`, with the token if there was one, or :class:`Denied`,
with what the client is told and why.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from gateway.access.routes import Routes
from gateway.grants.access import AccessTokens
from gateway.http.bearer import MalformedBearer, bearer_token, challenge
from gateway.http.paths import RefusedPath
from gateway.tokens.grant import AccessToken


@dataclass(frozen=True, slots=True)
class Allowed:
    """The request goes on; ``token`` is ``None`` on a public route."""

    token: AccessToken | None


@dataclass(frozen=True, slots=True)
class Denied:
    """The request ends here, with ``status`` and RFC 6750's ``error`` (§3.1) if there is one.

    ``why`` is a stable name for the audit log; ``token`` is the valid token that was not
    enough, if that is the reason, and ``grant_id`` the grant of one that is valid no more.
    """

    status: int
    error: str | None
    description: str
    why: str
    scope: str = ""
    token: AccessToken | None = None
    grant_id: str | None = None

    def challenge(self, realm: str) -> str | None:
        """Return the WWW-Authenticate value, ``None`` where a token would change nothing."""
        if self.why.startswith("path_"):
            return None
        return challenge(realm, self.error, self.description, self.scope)


NO_CREDENTIALS = Denied(401, None, "An access token is required.", "no_credentials")
MALFORMED_HEADER = Denied(
    400, "invalid_request", "The Authorization header is malformed.", "malformed_bearer"
)
INVALID_TOKEN = Denied(
    401, "invalid_token", "The access token is invalid, expired or revoked.", "invalid_token"
)


def refused_path(why: str) -> Denied:
    """The path has no single meaning, or one that no honest client sends."""
    return Denied(400, "invalid_request", "The path is not acceptable.", f"path_{why}")


def insufficient_scope(token: AccessToken, scopes: Sequence[str]) -> Denied:
    """RFC 6750 §3.1: the token is good, its scope is not enough."""
    return Denied(
        403,
        "insufficient_scope",
        "The access token lacks a scope that is needed here.",
        "insufficient_scope",
        " ".join(scopes),
        token,
    )


def _without_variation(path: str) -> str:
    return path.rstrip("/").lower()


class Decisions:
    """The decision core: route, then bearer, then scope.

    ``own_paths`` are those at which the gateway answers itself. It has done so before anybody
    asks here, so a path that is read as one of them is meant to reach the backend in its place;
    many backends think nothing of a slash at the end, and some of upper case.
    """

    def __init__(self, routes: Routes, grants: AccessTokens, own_paths: Collection[str]) -> None:
        self._routes = routes
        self._grants = grants
        self._own_paths = frozenset(map(_without_variation, own_paths))

    def decide(
        self, method: str, readings: Sequence[str], authorization: str | None
    ) -> Allowed | Denied:
        """Decide about a request: its method, its path's readings, its Authorization header.

        One round trip to the store at most. Raises StoreUnavailable.
        """
        if any(_without_variation(reading) in self._own_paths for reading in readings):
            return refused_path("own")
        try:
            needed = self._routes.requirement(method, readings)
        except RefusedPath as refused:
            return refused_path(refused.why)
        if needed.public:
            return Allowed(None)
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
