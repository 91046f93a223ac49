"""The refresh token flow (RFC 6749 §6)."""

from __future__ import annotations

from typing import Any

from oauthlib.common import Request
from oauthlib.oauth2 import RefreshTokenGrant

from gateway.grants.token_response import TokenContext, token_response
from gateway.grants.validator import Parts, Validator, client_of, context_of
from gateway.protocol.errors import invalid_scope, with_reasons
from gateway.protocol.reasons import Why
from gateway.tokens.grant import Issued, RefreshCandidate
from gateway.tokens.token import Kind, Token, TokenKey, TokenKeys


class RefreshFlow(RefreshTokenGrant):
    """Exchanges a refresh token for its successor.

    A ``redirect_uri``, as Frappe's clients send it, means nothing here and is ignored.
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__(RefreshValidator(parts.keys), post_token=[self.issue])
        self._parts = parts

    def validate_token_request(self, request: Request) -> None:
        """Run oauthlib's checks and then :meth:`issue`. Raises OAuthError, never oauthlib's own."""
        with with_reasons(required="refresh_token"):
            super().validate_token_request(request)

    def issue(self, request: Request) -> None:
        """RFC 9700 §4.14.2: rotate the refresh token, in one script.

        The script proves that the token is the client's own and current, and that the grant has the
        scope. Its candidates are what the token gives under each of the gateway's keys.
        """
        context: TokenContext = context_of(request)
        presented, scope = context.presented, request.scope or ""
        candidates = [_candidate(key, presented, scope) for key in self._parts.keys.all]
        issued = self._parts.store.rotate_refresh(
            presented,
            client_id=client_of(request).client_id,
            scope=scope,
            candidates=candidates,
            network=context.network,
        )
        given = candidates[issued.candidate if isinstance(issued, Issued) else 0]
        context.response = token_response(self._parts, issued, given.access, given.refresh)
        context.is_elsewhere = isinstance(issued, Issued) and issued.is_elsewhere


def _candidate(key: TokenKey, presented: Token, scope: str) -> RefreshCandidate:
    refresh = key.derived(Kind.REFRESH, presented)
    access = key.derived(Kind.ACCESS, presented, scope)
    return RefreshCandidate(access, refresh, key.derived(Kind.REFRESH, refresh))


class RefreshValidator(Validator):
    """Answers oauthlib's questions about a refresh token, as far as that needs no store."""

    def __init__(self, keys: TokenKeys) -> None:
        super().__init__()
        self._keys = keys

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        """Tell whether this gateway made the token. The script proves the rest."""
        presented = self._keys.read(Kind.REFRESH, refresh_token)
        if presented is None:
            return False
        context_of(request).presented = presented
        return True

    def get_original_scopes(
        self, refresh_token: str, request: Request, *args: Any, **kwargs: Any
    ) -> list[str]:
        """Return the client's scopes, the most that can be asked for.

        The script proves that the grant itself has the scope.
        """
        return list(client_of(request).scopes)

    def is_within_original_scope(
        self, request_scopes: list[str], refresh_token: str, request: Request, *args: Any, **kw: Any
    ) -> bool:
        """RFC 6749 §6: refuse a scope that not even the client has; the grant is told of."""
        raise invalid_scope(Why.SCOPE).about(grant_id=context_of(request).presented.grant_id)
