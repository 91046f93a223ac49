"""The protocol's endpoints: authorize, token, revoke, introspect. HTTP in, HTTP out.

The strict check comes first (:mod:`gateway.protocol.request_rules`), then the authentication of the
client (:mod:`gateway.clients.authentication`). What is right and wrong beyond that is decided in
:mod:`gateway.grants.authorization_server`.
"""

from __future__ import annotations

from werkzeug.wrappers import Response

from gateway.clients.authentication import authenticated_client, presented_client
from gateway.clients.registry import Clients, RegisteredClient, is_public
from gateway.grants.authorization_server import AuthorizationServer
from gateway.http.bearer import MalformedBearer, bearer_token
from gateway.http.peers import network_of
from gateway.observe.audit import Audit
from gateway.protocol.errors import OAuthError, invalid_client
from gateway.protocol.parameters import Parameters
from gateway.protocol.reasons import Why
from gateway.protocol.request_rules import (
    FormKind,
    validate_submission,
)
from gateway.protocol.revocation_request import revocation_parameters
from gateway.site.authorization_endpoint import AuthorizationEndpoint
from gateway.site.dispatcher import is_frappe_path
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.responses import (
    frappe_response,
    json_response,
)
from gateway.store.rate_limits import FailureLimit
from gateway.tokens.grant import Grant, Refused

__all__ = ["AuthorizationEndpoint", "ClientEndpoints"]


class ClientEndpoints:
    """The endpoints that clients call themselves: token, revocation, introspection."""

    def __init__(
        self,
        authorization_server: AuthorizationServer,
        clients: Clients,
        failures: FailureLimit,
        audit: Audit,
    ) -> None:
        self._authorization_server = authorization_server
        self._clients = clients
        self._failures = failures
        self._audit = audit

    def token(self, request: EndpointRequest) -> Response:
        """RFC 6749 §3.2: exchange a code, a refresh token, or a client's own credentials."""
        parameters = validate_submission(request.submission(FormKind.TOKEN))
        registered = self._authenticated(request, parameters)
        client_id = registered.client.client_id
        try:
            network = network_of(request.address)
            issued = self._authorization_server.exchange(registered, parameters, network)
        except OAuthError as fault:
            raise fault.about(client_id=client_id, parameters=parameters) from None
        self._audit.record(
            "token",
            outcome="allowed",
            why=Why.REPEATED_ELSEWHERE if issued.is_elsewhere else None,
            grant_type=parameters["grant_type"],
            client_id=client_id,
            user=issued.grant.user,
            grant_id=issued.grant.grant_id,
            scope=issued.scope,
            address=request.address,
        )
        return json_response(issued.members)

    def revoke(self, request: EndpointRequest) -> Response:
        """RFC 7009 §2. Also for a caller that sends the token and nothing else, as Frappe's do.

        :mod:`gateway.protocol.revocation_request` says where the token may stand.

        A token that is unknown, or another client's, is answered as if it had been revoked
        (§2.2); the audit log tells the difference.
        """
        bearer = _bearer(request)
        parameters = revocation_parameters(
            request.submission(FormKind.REVOKE), bearer, takes_json=is_frappe_path(request.path)
        )
        # Who sends the token as a bearer token holds it, and proves no more than that.
        is_holder = bearer is not None and bearer == parameters.get("token")
        is_nameless = is_holder or presented_client(request.authorization, parameters) is None
        registered = None if is_nameless else self._authenticated(request, parameters)
        outcome = self._authorization_server.revoke(registered, parameters)
        self._audit.record(
            "revoke",
            outcome="allowed" if isinstance(outcome, Grant) else "refused",
            why=_why_not_revoked(outcome),
            client_id=registered.client.client_id if registered else None,
            user=outcome.user if outcome else None,
            grant_id=outcome.grant_id if outcome else None,
            address=request.address,
        )
        return frappe_response("success")

    def introspect(self, request: EndpointRequest) -> Response:
        """RFC 7662 §2: what a token is good for, told to clients that prove who they are."""
        parameters = validate_submission(request.submission(FormKind.INTROSPECT))
        registered = self._authenticated(request, parameters)
        client_id = registered.client.client_id
        if is_public(registered.client):
            # §2.1: or anyone who knows a client_id could try tokens here.
            raise invalid_client(Why.PUBLIC_CLIENT).about(client_id=client_id)
        response = self._authorization_server.introspect(registered, parameters)
        self._audit.record(
            "introspect",
            outcome="allowed",
            active=bool(response.members["active"]),
            client_id=client_id,
            user=response.user,
            grant_id=response.grant_id,
            address=request.address,
        )
        return json_response(response.members)

    def _authenticated(self, request: EndpointRequest, parameters: Parameters) -> RegisteredClient:
        presented = presented_client(request.authorization, parameters)
        return authenticated_client(presented, self._clients, self._failures, request.address)


def _bearer(request: EndpointRequest) -> str | None:
    try:
        return bearer_token(request.authorization)
    except MalformedBearer:
        # The authentication of the client refuses the header.
        return None


def _why_not_revoked(outcome: Grant | Refused | None) -> str | None:
    if outcome is None:
        return Why.UNKNOWN
    return Why(outcome.why.value) if isinstance(outcome, Refused) else None
