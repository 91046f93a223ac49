"""The client credentials flow (RFC 6749 §4.4): a client that acts for itself."""

from __future__ import annotations

from oauthlib.common import Request
from oauthlib.oauth2 import ClientCredentialsGrant

from gateway.clients.registry import RegisteredClient, is_public
from gateway.grants.token_response import TokenContext, token_response
from gateway.grants.validator import Parts, Validator, client_of, context_of
from gateway.protocol.errors import invalid_client, unauthorized_client, with_reasons
from gateway.protocol.reasons import Why
from gateway.tokens.grant import Grant
from gateway.tokens.token import Kind, new_grant_id


class ClientCredentialsFlow(ClientCredentialsGrant):
    """Gives a confidential client a token of its own, and no refresh token (§4.4.3)."""

    def __init__(self, parts: Parts) -> None:
        super().__init__(Validator(), post_token=[self.issue])
        self._parts = parts

    def validate_token_request(self, request: Request) -> None:
        """Run oauthlib's checks and then :meth:`issue`. Raises OAuthError, never oauthlib's own."""
        with with_reasons(required="grant_type"):
            super().validate_token_request(request)

    def validate_grant_type(self, request: Request) -> None:
        """RFC 6749 §4.4: confidential clients only."""
        super().validate_grant_type(request)
        if is_public(client_of(request)):
            raise unauthorized_client("The application has no credentials.", Why.PUBLIC_CLIENT)

    def issue(self, request: Request) -> None:
        """Open a grant with its one access token, in one script."""
        context: TokenContext = context_of(request)
        registered = context.registered
        scope = " ".join(request.scopes or ())
        grant = Grant(new_grant_id(), registered.client.client_id, None, scope, registered.source)
        access = self._parts.keys.newest.random(Kind.ACCESS, grant.grant_id)
        issued = self._parts.store.issue_access(grant, access)
        self._end_if_client_is_removed(registered, grant)
        context.response = token_response(self._parts, issued, access, None)

    def _end_if_client_is_removed(self, registered: RegisteredClient, grant: Grant) -> None:
        # Whoever removes a client ends its grants. This grant may have come just after that.
        client_id = registered.client.client_id
        if registered.source == "store" and self._parts.clients.find(client_id) is None:
            self._parts.store.end_grant(grant.grant_id)
            raise invalid_client(Why.UNKNOWN_CLIENT)
