"""The authorization server (RFC 6749 §1.1): oauthlib's endpoints with the gateway's flows in them.

Requests come here after the strict check and the authentication of the client. oauthlib decides
which flow a request is for, and runs it. A new flow is a file beside this one, and a line in
:data:`FLOWS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from oauthlib.oauth2 import AuthorizationEndpoint, TokenEndpoint
from oauthlib.oauth2.rfc6749.grant_types.base import GrantTypeBase

from gateway.clients.registry import RegisteredClient
from gateway.grants.access import AccessTokens
from gateway.grants.authorization import (
    AuthorizationRequest,
    CheckedParameters,
    RedirectedError,
    check_parameters,
)
from gateway.grants.client_credentials import ClientCredentialsFlow
from gateway.grants.code import AuthorizationContext, CodeFlow
from gateway.grants.introspection import (
    Introspection,
    IntrospectionContext,
    IntrospectionResponse,
)
from gateway.grants.refresh import RefreshFlow
from gateway.grants.revocation import Revocation, RevocationContext
from gateway.grants.token_response import IssuedToken, TokenContext, TokenResponse
from gateway.grants.validator import URI, Parts, request_body
from gateway.protocol.errors import OAuthError
from gateway.protocol.oauthlib_logs import silence_oauthlib
from gateway.protocol.parameters import Parameters
from gateway.protocol.request_rules import Pairs
from gateway.tokens.grant import Grant, Refused
from gateway.tokens.token import Token

#: Every grant_type of the token endpoint.
FLOWS: Mapping[str, Callable[[Parts], GrantTypeBase]] = {
    "authorization_code": CodeFlow,
    "refresh_token": RefreshFlow,
    "client_credentials": ClientCredentialsFlow,
}

# oauthlib runs these for a request that names no flow, or one that does not exist. Of its grant
# types, client_credentials alone tells a missing grant_type from an unsupported one.
_DEFAULT_GRANT_TYPE = "client_credentials"
_DEFAULT_RESPONSE_TYPE = "code"


class AuthorizationResponse(NamedTuple):
    """What a user's permission gives: a code, its grant, and the redirect that carries the code."""

    code: Token
    grant: Grant
    location: str


class AuthorizationServer:
    """Answers the requests of the protocol. Every method raises OAuthError and StoreUnavailable."""

    def __init__(self, parts: Parts, access: AccessTokens) -> None:
        flows = {name: flow(parts) for name, flow in FLOWS.items()}
        bearer: Any = IssuedToken()
        self._authorization = AuthorizationEndpoint(
            _DEFAULT_RESPONSE_TYPE, bearer, {"code": flows["authorization_code"]}
        )
        self._token = TokenEndpoint(_DEFAULT_GRANT_TYPE, bearer, flows)
        self._revocation = Revocation(parts)
        self._introspection = Introspection(parts, access)
        silence_oauthlib()

    def authorization_request(self, pairs: Pairs) -> AuthorizationRequest:
        """Judge an authorization request, given as decoded name-value pairs (RFC 6749 §4.1.1).

        Raises RedirectedError once it is known where to redirect.
        """
        context = AuthorizationContext(check_parameters(pairs))
        parameters = context.checked.parameters
        try:
            scopes, _ = self._authorization.validate_authorization_request(
                URI, body=request_body(parameters, context)
            )
        except OAuthError as fault:
            fault.about(client_id=parameters.get("client_id"), parameters=dict(pairs))
            if fault.is_fatal:
                raise
            raise RedirectedError(fault, context.destination) from None
        return AuthorizationRequest(
            context.registered, context.destination, tuple(scopes), parameters
        )

    def authorize(self, request: AuthorizationRequest, user: str) -> AuthorizationResponse:
        """Give a code for a request that ``user`` allowed (RFC 6749 §4.1.2)."""
        checked = CheckedParameters(request.parameters)
        context = AuthorizationContext(checked, found=request.registered)
        headers, _, _ = self._authorization.create_authorization_response(
            URI,
            body=request_body(request.parameters, context),
            scopes=list(request.scopes),
            credentials={"user": user},
        )
        return AuthorizationResponse(context.code, context.grant, headers["Location"])

    def exchange(
        self, registered: RegisteredClient, parameters: Parameters, network: str = ""
    ) -> TokenResponse:
        """Answer a token request of an authenticated client (RFC 6749 §3.2).

        ``network`` is where the request comes from.
        """
        context = TokenContext(registered, network)
        _, members, _ = self._token.create_token_response(
            URI, body=request_body(parameters, context)
        )
        return TokenResponse(json.loads(members), context.response.grant, context.is_elsewhere)

    def revoke(
        self, registered: RegisteredClient | None, parameters: Parameters
    ) -> Refused | Grant | None:
        """Take a token back (RFC 7009 §2); ``None`` if this gateway never issued it.

        ``registered`` is ``None`` for a caller that does not say who it is.
        """
        context = RevocationContext(registered.client if registered is not None else None)
        self._revocation.create_revocation_response(URI, body=request_body(parameters, context))
        return context.outcome

    def introspect(
        self, registered: RegisteredClient, parameters: Parameters
    ) -> IntrospectionResponse:
        """Say what a token is good for (RFC 7662 §2)."""
        context = IntrospectionContext(registered.client)
        _, members, _ = self._introspection.create_introspect_response(
            URI, body=request_body(parameters, context)
        )
        return IntrospectionResponse(json.loads(members), context.grant_id, context.user)
