"""Introspection (RFC 7662): a client learns whether a token is valid, and for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from oauthlib.common import Request
from oauthlib.oauth2 import IntrospectEndpoint

from gateway.config.settings import Client
from gateway.grants.access import AccessTokens
from gateway.grants.validator import Parts, Validator, client_of, context_of
from gateway.protocol.errors import with_reasons
from gateway.tokens.grant import AccessToken, Grant
from gateway.tokens.token import Kind

#: The members of a response, but for ``active``.
Claims = dict[str, Any]


@dataclass(frozen=True, slots=True)
class IntrospectionResponse:
    """The members of a response (RFC 7662 §2.2), and whose grant it is about."""

    members: Mapping[str, Any]
    grant_id: str | None
    user: str | None


@dataclass(slots=True)
class IntrospectionContext:
    """One introspection: who asks, and the token's grant and its user, as far as there are any."""

    client: Client
    grant_id: str | None = None
    user: str | None = None


class Introspection(IntrospectEndpoint):
    """oauthlib's endpoint with the gateway's answers to its questions."""

    def __init__(self, parts: Parts, access: AccessTokens) -> None:
        super().__init__(IntrospectionValidator(parts, access))

    def validate_introspect_request(self, request: Request) -> None:
        """Run oauthlib's checks. Raises OAuthError, never oauthlib's own."""
        with with_reasons(required="token"):
            super().validate_introspect_request(request)


class IntrospectionValidator(Validator):
    """Tells a client of its own tokens, or of any token if it is registered to ask for it."""

    def __init__(self, parts: Parts, access: AccessTokens) -> None:
        super().__init__()
        self._parts = parts
        self._access = access

    def introspect_token(
        self, token: str, token_type_hint: str, request: Request, *args: Any, **kwargs: Any
    ) -> Claims | None:
        """RFC 7662 §2.2: return the members about a valid token, ``None`` for any other.

        The hint is not needed: a token says of which kind it is. Raises StoreUnavailable.
        """
        context: IntrospectionContext = context_of(request)
        context.grant_id = self._access.grant_id_of(token)
        access = self._access.access_token(token)
        if access is not None:
            context.user = access.user
            kind = {"token_type": "Bearer", "exp": access.expires_at}
            return _claims(access, client_of(request), kind)
        grant = self._current_refresh(token, context)
        return (
            _claims(grant, client_of(request), {"token_type": "refresh_token"}) if grant else None
        )

    def _current_refresh(self, text: str, context: IntrospectionContext) -> Grant | None:
        refresh = self._parts.keys.read(Kind.REFRESH, text)
        grant = self._parts.store.is_current_refresh(refresh) if refresh else None
        if grant is None or not self._parts.entitlements.may_act(grant):
            return None
        context.user = grant.user
        scope = self._parts.entitlements.remaining_scope(grant.scope, grant)
        return replace(grant, scope=scope) if scope or not grant.scope else None


def _claims(party: AccessToken | Grant, client: Client, kind: Claims) -> Claims | None:
    if party.client_id != client.client_id and not client.introspect_any:
        return None
    claims: Claims = {"scope": party.scope} if party.scope else {}
    claims["client_id"] = party.client_id
    if party.user is not None:
        claims |= {"username": party.user, "sub": party.user}
    return claims | kind
