"""Access tokens at a request to the backend. This is the hot path: no oauthlib here."""

from __future__ import annotations

from dataclasses import replace

from gateway.grants.entitlements import Entitlements
from gateway.token_store import TokenStore
from gateway.tokens.grant import AccessToken
from gateway.tokens.token import Kind, TokenKeys


class AccessTokens:
    """Validates access tokens."""

    def __init__(self, store: TokenStore, keys: TokenKeys, entitlements: Entitlements) -> None:
        self._store = store
        self._keys = keys
        self._entitlements = entitlements

    def access_token(self, text: str) -> AccessToken | None:
        """Return what a bearer token allows, or ``None`` if the token is not valid.

        One round trip to the store; none for a token that this gateway never issued. Raises
        StoreUnavailable.
        """
        token = self._keys.read(Kind.ACCESS, text)
        if token is None:
            return None
        access = self._store.access_token(token)
        if access is None or not self._entitlements.may_act(access):
            return None
        scope = self._entitlements.remaining_scope(access.scope, access)
        if scope == access.scope:
            return access
        # A token without any scope left may not even do what every valid token may.
        return replace(access, scope=scope) if scope else None

    def grant_id_of(self, text: str) -> str | None:
        """Return the id of the grant of a genuine code or token, valid or not; ``None`` if none.

        No round trip.
        """
        for kind in Kind:
            token = self._keys.read(kind, text)
            if token is not None:
                return token.grant_id
        return None
