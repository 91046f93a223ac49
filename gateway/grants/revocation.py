"""Revocation (RFC 7009): a client, or whoever holds a token, ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oauthlib.common import Request
from oauthlib.oauth2 import RevocationEndpoint

from gateway.config.settings import Client
from gateway.grants.validator import Parts, Validator, context_of
from gateway.protocol.errors import with_reasons
from gateway.tokens.grant import Grant, Refused
from gateway.tokens.token import Kind


@dataclass(slots=True)
class RevocationContext:
    """One revocation. ``client`` is ``None`` for a caller that does not say who it is.

    ``outcome`` is the grant of the token, or the refusal, or ``None`` for a token that this gateway
    never issued.
    """

    client: Client | None
    outcome: Refused | Grant | None = None


class Revocation(RevocationEndpoint):
    """oauthlib's endpoint with the gateway's answers to its questions."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(RevocationValidator(parts))

    def validate_revocation_request(self, request: Request) -> None:
        """Run oauthlib's checks. Raises OAuthError, never oauthlib's own."""
        with with_reasons(required="token"):
            super().validate_revocation_request(request)


class RevocationValidator(Validator):
    """Ends tokens. A caller need not say who it is."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self._parts = parts

    def client_authentication_required(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        """RFC 7009 §2.1: only for a caller that says which client it is."""
        return context_of(request).client is not None

    def authenticate_client_id(
        self, client_id: str, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        """Let a nameless caller pass, as Frappe does.

        Holding the token is proof enough, since all that can be done with it here is to end it.
        """
        return True

    def revoke_token(
        self, token: str, token_type_hint: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        """RFC 7009 §2.1: end an access token, or a refresh token with all that came of it.

        The hint is not needed: a token says of which kind it is. Raises StoreUnavailable.
        """
        context: RevocationContext = context_of(request)
        context.outcome = self._revoke(token, context.client.client_id if context.client else "")

    def _revoke(self, text: str, client_id: str) -> Refused | Grant | None:
        for kind in (Kind.REFRESH, Kind.ACCESS):
            token = self._parts.keys.read(kind, text)
            if token is not None:
                whole_grant = kind is Kind.REFRESH
                return self._parts.store.revoke(token, client_id, whole_grant=whole_grant)
        return None
