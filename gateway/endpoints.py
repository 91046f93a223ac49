"""The protocol's endpoints: authorize, token, revoke, introspect. HTTP in, HTTP out.

What is right and wrong is decided in :mod:`gateway.grants.authorization`, for the request that the
browser brings, and in :mod:`gateway.grants.grants`, for the ones that the client sends itself.
"""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from werkzeug.wrappers import Response

from gateway.clients.authentication import authenticated_client, presented_client
from gateway.clients.registry import Clients, RegisteredClient
from gateway.config.settings import Settings
from gateway.grants.authorization import (
    AuthorizationRequest,
    NotRedirectable,
    RedirectedError,
    authorization_request,
    authorization_response,
)
from gateway.grants.consent_store import ConsentStore
from gateway.grants.grants import Grants
from gateway.observe.audit import Audit
from gateway.protocol.errors import OAuthError, invalid_client
from gateway.protocol.parameters import Parameters, required
from gateway.protocol.request_rules import (
    FormKind,
    Pairs,
    parse,
    validate_pairs,
    validate_submission,
)
from gateway.site.browser_form import BrowserForm
from gateway.site.browser_session import BrowserSessions
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.pages import Page, Pages
from gateway.site.responses import frappe_response, json_response, page_response, redirect_response
from gateway.store.rate_limits import FailureLimit
from gateway.tokens.grant import Grant, Refused
from gateway.users.sign_in_method import ResourceOwner


class AuthorizationEndpoint:
    """RFC 6749 §3.1: the browser comes with a client's request and leaves with the answer."""

    def __init__(
        self,
        settings: Settings,
        *,
        pages: Pages,
        browsers: BrowserSessions,
        form: BrowserForm,
        consents: ConsentStore,
        grants: Grants,
        clients: Clients,
        audit: Audit,
    ) -> None:
        self._settings = settings
        self._pages = pages
        self._browsers = browsers
        self._form = form
        self._consents = consents
        self._grants = grants
        self._clients = clients
        self._audit = audit

    def __call__(self, request: EndpointRequest) -> Response:
        """Answer GET with the confirmation page (or what comes first), POST with its result."""
        after_post = request.method == "POST"
        status = 303 if after_post else 302
        try:
            pairs = parse(
                request.submission(FormKind.CONSENT if after_post else FormKind.AUTHORIZE)
            )
            asked = authorization_request(pairs, self._clients, self._settings.provider)
        except RedirectedError as fault:
            return self._error_redirect(request, fault, status)
        except OAuthError as fault:
            return self._error_page(request, fault)
        owner = self._browsers.current_user(request)
        if owner is None:
            return self._to_sign_in(request, asked, status)
        if after_post:
            return self._answered(request, asked, owner, pairs)
        why = self._needs_no_consent(asked, owner)
        if why is not None:
            return self._code(request, asked, owner, why, status)
        return self._confirmation(request, asked, owner)

    def _to_sign_in(
        self, request: EndpointRequest, asked: AuthorizationRequest, status: int
    ) -> Response:
        query = urlencode(asked.parameters)
        url = self._browsers.sign_in_url(f"{request.path}?{query}")
        if url is not None:
            return redirect_response(url, status)
        self._record(request, asked, "refused", why="not_signed_in")
        page = self._pages.error(
            title="You are not signed in",
            message="This site signs you in before you come here, and it has not done so.",
            detail="access_denied",
        )
        return page_response(page, 403)

    def _needs_no_consent(self, asked: AuthorizationRequest, owner: ResourceOwner) -> str | None:
        """Say why nobody need be asked: told so by the operator, or asked before."""
        if asked.client.skip_consent:
            return "skip_consent"
        if self._settings.provider.consent == "never":
            return "never"
        if self._settings.provider.consent == "always":
            return None
        granted = self._consents.granted(owner.name, asked.client)
        return "remembered" if granted is not None and granted.issuperset(asked.scopes) else None

    def _confirmation(
        self, request: EndpointRequest, asked: AuthorizationRequest, owner: ResourceOwner
    ) -> Response:
        uri = urlsplit(asked.destination.redirect_uri)
        target = f"{request.path}?{urlencode(asked.parameters)}"

        def render(csrf_token: str) -> Page:
            return self._pages.consent(
                action=request.path,
                csrf_token=csrf_token,
                parameters=tuple(asked.parameters.items()),
                client_name=asked.client.name,
                client_id=asked.client.client_id,
                user_name=owner.display_name,
                user_detail=owner.display_detail,
                scopes=[(name, self._settings.scopes.get(name, "")) for name in asked.scopes],
                redirect_host=uri.netloc if uri.scheme in {"http", "https"} else f"{uri.scheme}:",
                sign_out_url=self._browsers.sign_out_url(target),
            )

        return self._form.show(request, _consent_context(asked, owner), render)

    def _answered(
        self,
        request: EndpointRequest,
        asked: AuthorizationRequest,
        owner: ResourceOwner,
        pairs: Pairs,
    ) -> Response:
        try:
            answer = validate_pairs(pairs, FormKind.CONSENT)
            decision = required(answer, "decision")
        except OAuthError as fault:
            about = fault.about(client_id=asked.client.client_id, user=owner.name)
            return self._error_page(request, about)
        context = _consent_context(asked, owner)
        if not self._form.is_genuine(request, answer.get("csrf_token"), context):
            self._record(request, asked, "refused", user=owner.name, why="csrf")
            page = self._pages.error(
                title="Please start again",
                message="This confirmation was not shown to you by this site, or your session"
                " has ended. Nothing was allowed. Go back to the application and start again.",
            )
            return page_response(page, 403)
        if decision == "deny":
            self._record(request, asked, "refused", user=owner.name, why="denied_by_user")
            return self._redirect(asked, [("error", "access_denied")], 303)
        if self._settings.provider.consent == "remember":
            self._consents.remember(owner.name, asked.client, asked.scopes)
        return self._code(request, asked, owner, "allowed_by_user", 303)

    def _code(
        self,
        request: EndpointRequest,
        asked: AuthorizationRequest,
        owner: ResourceOwner,
        why: str,
        status: int,
    ) -> Response:
        code, grant = self._grants.authorize(asked, owner.name)
        self._record(request, asked, "allowed", user=owner.name, grant_id=grant.grant_id, why=why)
        return self._redirect(asked, [("code", code.text)], status)

    def _redirect(
        self, asked: AuthorizationRequest, answer: list[tuple[str, str]], status: int
    ) -> Response:
        location = authorization_response(asked.destination, self._settings.issuer, answer)
        return redirect_response(location, status)

    def _error_redirect(
        self, request: EndpointRequest, fault: RedirectedError, status: int
    ) -> Response:
        self._record_fault(request, fault)
        answer = [("error", fault.error), ("error_description", fault.description)]
        location = authorization_response(fault.destination, self._settings.issuer, answer)
        return redirect_response(location, status)

    def _error_page(self, request: EndpointRequest, fault: OAuthError) -> Response:
        self._record_fault(request, fault)
        title = (
            "This link does not work"
            if isinstance(fault, NotRedirectable)
            else "This request does not work"
        )
        page = self._pages.error(title=title, message=fault.description, detail=fault.error)
        return page_response(page, 400)

    def _record_fault(self, request: EndpointRequest, fault: OAuthError) -> None:
        self._audit.record(
            "authorize",
            outcome="refused",
            error=fault.error,
            why=fault.why,
            client_id=fault.client_id,
            user=fault.user,
            address=request.address,
        )

    def _record(
        self, request: EndpointRequest, asked: AuthorizationRequest, outcome: str, **members: str
    ) -> None:
        self._audit.record(
            "authorize",
            outcome=outcome,
            client_id=asked.client.client_id,
            scope=" ".join(asked.scopes),
            address=request.address,
            **members,
        )


def _consent_context(asked: AuthorizationRequest, owner: ResourceOwner) -> list[str]:
    context = [owner.name]
    for name in sorted(asked.parameters):
        context += (name, asked.parameters[name])
    return context


class ClientEndpoints:
    """The endpoints that clients call themselves: token, revocation, introspection."""

    def __init__(
        self, grants: Grants, clients: Clients, failures: FailureLimit, audit: Audit
    ) -> None:
        self._grants = grants
        self._clients = clients
        self._failures = failures
        self._audit = audit

    def token(self, request: EndpointRequest) -> Response:
        """RFC 6749 §3.2: exchange a code, a refresh token, or a client's own credentials."""
        parameters = validate_submission(request.submission(FormKind.TOKEN))
        registered = self._authenticated(request, parameters)
        client_id = registered.client.client_id
        try:
            answer = self._grants.exchange(registered, parameters)
        except OAuthError as fault:
            raise fault.about(client_id=client_id) from None
        self._audit.record(
            "token",
            outcome="allowed",
            grant_type=parameters["grant_type"],
            client_id=client_id,
            user=answer.grant.user,
            grant_id=answer.grant.grant_id,
            scope=answer.scope,
            address=request.address,
        )
        return json_response(answer.members())

    def revoke(self, request: EndpointRequest) -> Response:
        """RFC 7009 §2. Also for a caller that sends the token and nothing else, as Frappe's do.

        A token that is unknown, or another client's, is answered as if it had been revoked
        (§2.2); the audit log knows better.
        """
        parameters = validate_submission(request.submission(FormKind.REVOKE))
        token = required(parameters, "token")
        presented = presented_client(request.authorization, parameters)
        registered = (
            authenticated_client(presented, self._clients, self._failures, request.address)
            if presented is not None
            else None
        )
        done = self._grants.revoke(token, registered.client if registered else None)
        refused = done.why.value if isinstance(done, Refused) else None
        self._audit.record(
            "revoke",
            outcome="allowed" if isinstance(done, Grant) else "refused",
            why="unknown" if done is None else refused,
            client_id=registered.client.client_id if registered else None,
            user=done.user if done else None,
            grant_id=done.grant_id if done else None,
            address=request.address,
        )
        return frappe_response("success")

    def introspect(self, request: EndpointRequest) -> Response:
        """RFC 7662 §2: what a token is good for, told to clients that prove who they are."""
        parameters = validate_submission(request.submission(FormKind.INTROSPECT))
        client = self._authenticated(request, parameters).client
        if client.secret_sha256 is None:
            # §2.1: or anyone who knows a client_id could try tokens here.
            raise invalid_client("public_client").about(client_id=client.client_id)
        found = self._grants.introspection(required(parameters, "token"), client)
        self._audit.record(
            "introspect",
            outcome="allowed",
            active=bool(found.members["active"]),
            client_id=client.client_id,
            user=found.user,
            grant_id=found.grant_id,
            address=request.address,
        )
        return json_response(found.members)

    def _authenticated(self, request: EndpointRequest, parameters: Parameters) -> RegisteredClient:
        presented = presented_client(request.authorization, parameters)
        return authenticated_client(presented, self._clients, self._failures, request.address)
