"""The authorization endpoint: a browser brings a client's request, and takes the response back.

What is right and wrong about the request is decided in :mod:`gateway.grants.authorization_server`.
Here are the steps that a person goes through: sign in, confirm, and back to the client.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from oauthlib.oauth2 import AccessDeniedError
from werkzeug.wrappers import Response

from gateway.config.settings import Settings
from gateway.grants.authorization import (
    AuthorizationRequest,
    Destination,
    RedirectedError,
    authorization_response,
)
from gateway.grants.authorization_server import AuthorizationServer
from gateway.grants.consent_store import ConsentStore
from gateway.grants.waiting_requests import WaitingRequests
from gateway.observe.audit import Audit
from gateway.protocol.errors import OAuthError
from gateway.protocol.parameters import Parameters, required
from gateway.protocol.reasons import Why
from gateway.protocol.request_rules import (
    FormKind,
    Pairs,
    parse,
    validate_pairs,
)
from gateway.site.browser_form import BrowserForm
from gateway.site.browser_session import BrowserSessions
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.pages import Page, Pages
from gateway.site.responses import (
    NO_STORE,
    page_response,
    redirect_response,
)
from gateway.tokens.token import new_secret
from gateway.users.sign_in_method import ResourceOwner


class AuthorizationEndpoint:
    """RFC 6749 §3.1: the browser brings a client's request, and takes the response back."""

    def __init__(
        self,
        settings: Settings,
        *,
        pages: Pages,
        browsers: BrowserSessions,
        form: BrowserForm,
        consents: ConsentStore,
        waiting: WaitingRequests,
        authorization_server: AuthorizationServer,
        audit: Audit,
    ) -> None:
        self._settings = settings
        self._pages = pages
        self._browsers = browsers
        self._form = form
        self._consents = consents
        self._waiting = waiting
        self._authorization_server = authorization_server
        self._audit = audit

    def __call__(self, request: EndpointRequest) -> Response:
        """Answer GET with the confirmation page (or what comes first), POST with its result."""
        try:
            return self._respond(request)
        except RedirectedError as fault:
            return self._error_redirect(request, fault)
        except OAuthError as fault:
            return self._error_page(request, fault)

    def _respond(self, request: EndpointRequest) -> Response:
        kind = FormKind.CONSENT if request.method == "POST" else FormKind.AUTHORIZE
        sent = parse(request.submission(kind))
        pairs = self._waiting.find(sent, self._browsers.browser_ids(request))
        owner = self._browsers.current_user(request)
        try:
            authorization = self._authorization_server.authorization_request(pairs)
        except RedirectedError as fault:
            if owner is not None:
                raise
            self._record_fault(request, fault)
            return self._to_sign_in(request, pairs, fault.client_id)
        if request.method == "HEAD":
            # HEAD changes nothing (RFC 9110 §9.2.1): no code, no request that waits.
            return Response(b"", 200, NO_STORE)
        if owner is None:
            return self._to_sign_in(request, pairs, authorization.client.client_id)
        if kind is FormKind.CONSENT and _is_request(pairs):
            return self._back_by_get(request, pairs)
        if kind is FormKind.CONSENT:
            return self._decide(request, authorization, owner, pairs)
        grounds = self._needs_no_consent(authorization, owner)
        if grounds is not None:
            return self._issue_code(request, authorization, owner, grounds)
        return self._confirmation(request, authorization, owner)

    def _back_by_get(self, request: EndpointRequest, pairs: Pairs) -> Response:
        """RFC 6749 §3.1: a client may send its request as a form; the browser goes on with a GET.

        A form of another site comes without the browser's cookies (SameSite=Lax). The GET after
        it has them.
        """
        return redirect_response(f"{request.path}?{self._waiting.keep(pairs, None)}", 303)

    def _to_sign_in(
        self, request: EndpointRequest, pairs: Pairs, client_id: str | None
    ) -> Response:
        """RFC 9700 §4.11.2: the user signs in first, also where the request is a faulty one."""
        if request.method == "POST" and _is_request(pairs):
            return self._back_by_get(request, pairs)
        known = self._browsers.browser_ids(request)
        # A POST may come from a foreign page, without the cookies. It replaces none of them.
        new_id = None if known or request.method == "POST" else new_secret()
        waiting = self._waiting.keep(pairs, known[0] if known else new_id)
        url = self._browsers.sign_in_url(f"{request.path}?{waiting}")
        if url is None:
            return self._nobody_signed_in(request, client_id)
        response = _redirect_to(request, url)
        if new_id is not None:
            self._browsers.set_browser_id(response, new_id)
        return response

    def _nobody_signed_in(self, request: EndpointRequest, client_id: str | None) -> Response:
        about = {"client_id": client_id, "address": request.address}
        self._audit.record("authorize", outcome="refused", why=Why.NOT_SIGNED_IN, **about)
        page = self._pages.error(
            title="You are not signed in",
            message="This site signs you in before you come here, and it has not done so.",
            detail="access_denied",
        )
        return page_response(page, 403)

    def _needs_no_consent(
        self, authorization: AuthorizationRequest, owner: ResourceOwner
    ) -> Why | None:
        """Return why nobody asks the user: the operator says so, or the user allowed it before."""
        if authorization.client.skip_consent:
            return Why.SKIP_CONSENT
        if self._settings.provider.consent == "never":
            return Why.NEVER
        if self._settings.provider.consent == "always":
            return None
        granted = self._consents.granted(owner.name, authorization.client)
        allows_all = granted is not None and granted.issuperset(authorization.scopes)
        return Why.REMEMBERED if allows_all else None

    def _confirmation(
        self, request: EndpointRequest, authorization: AuthorizationRequest, owner: ResourceOwner
    ) -> Response:
        uri = urlsplit(authorization.destination.redirect_uri)
        known = self._browsers.browser_ids(request)
        pairs = tuple(authorization.parameters.items())
        sign_out_url = self._browsers.sign_out_url()
        if sign_out_url:
            waiting = self._waiting.keep(pairs, known[0] if known else None)
            sign_out_url = self._browsers.sign_out_url(f"{request.path}?{waiting}")

        def render(csrf_token: str) -> Page:
            return self._pages.consent(
                action=request.path,
                csrf_token=csrf_token,
                parameters=pairs,
                client_name=authorization.client.name,
                client_id=authorization.client.client_id,
                user_name=owner.display_name,
                user_detail=owner.display_detail,
                scopes=[
                    (name, self._settings.scopes.get(name, "")) for name in authorization.scopes
                ],
                redirect_host=uri.netloc if uri.scheme in {"http", "https"} else f"{uri.scheme}:",
                sign_out_url=sign_out_url,
            )

        return self._form.show(request, _consent_context(authorization, owner), render)

    def _decide(
        self,
        request: EndpointRequest,
        authorization: AuthorizationRequest,
        owner: ResourceOwner,
        pairs: Pairs,
    ) -> Response:
        form = _consent_form(pairs, authorization, owner)
        context = _consent_context(authorization, owner)
        if not self._form.is_genuine(request, form.get("csrf_token"), context):
            return self._forged(request, authorization, owner)
        if form["decision"] == "deny":
            self._record(request, authorization, "refused", user=owner.name, why=Why.DENIED_BY_USER)
            return self._redirect(
                request, authorization.destination, ("error", AccessDeniedError.error)
            )
        if self._settings.provider.consent == "remember":
            self._consents.remember(owner.name, authorization.client, authorization.scopes)
        return self._issue_code(request, authorization, owner, Why.ALLOWED_BY_USER)

    def _forged(
        self, request: EndpointRequest, authorization: AuthorizationRequest, owner: ResourceOwner
    ) -> Response:
        self._record(request, authorization, "refused", user=owner.name, why=Why.CSRF)
        page = self._pages.error(
            title="Please start again",
            message="This confirmation was not shown to you by this site, or your session"
            " has ended. Nothing was allowed. Go back to the application and start again.",
        )
        return page_response(page, 403)

    def _issue_code(
        self,
        request: EndpointRequest,
        authorization: AuthorizationRequest,
        owner: ResourceOwner,
        grounds: Why,
    ) -> Response:
        response = self._authorization_server.authorize(authorization, owner.name)
        grant_id = response.grant.grant_id
        self._record(
            request, authorization, "allowed", user=owner.name, grant_id=grant_id, why=grounds
        )
        return _redirect_to(request, response.location)

    def _error_redirect(self, request: EndpointRequest, fault: RedirectedError) -> Response:
        self._record_fault(request, fault)
        members = ("error", fault.error), ("error_description", fault.description)
        return self._redirect(request, fault.destination, *members)

    def _redirect(
        self, request: EndpointRequest, destination: Destination, *members: tuple[str, str]
    ) -> Response:
        return _redirect_to(
            request, authorization_response(destination, self._settings.issuer, members)
        )

    def _error_page(self, request: EndpointRequest, fault: OAuthError) -> Response:
        self._record_fault(request, fault)
        which = "link" if fault.is_fatal else "request"
        page = self._pages.error(
            title=f"This {which} does not work", message=fault.description, detail=fault.error
        )
        return page_response(page, 400)

    def _record_fault(self, request: EndpointRequest, fault: OAuthError) -> None:
        self._audit.record(
            "authorize",
            outcome="refused",
            error=fault.error,
            why=fault.why,
            client_id=fault.client_id,
            user=fault.user,
            **fault.sent,
            address=request.address,
        )

    def _record(
        self,
        request: EndpointRequest,
        authorization: AuthorizationRequest,
        outcome: str,
        **members: str,
    ) -> None:
        self._audit.record(
            "authorize",
            outcome=outcome,
            client_id=authorization.client.client_id,
            scope=" ".join(authorization.scopes),
            address=request.address,
            **members,
        )


def _is_request(pairs: Pairs) -> bool:
    """Tell whether a form is a client's request, and not the user's answer to one."""
    return not {"decision", "csrf_token"}.intersection(name for name, _ in pairs)


def _redirect_to(request: EndpointRequest, location: str) -> Response:
    return redirect_response(location, 303 if request.method == "POST" else 302)


def _consent_form(
    pairs: Pairs, authorization: AuthorizationRequest, owner: ResourceOwner
) -> Parameters:
    try:
        form = validate_pairs(pairs, FormKind.CONSENT)
        required(form, "decision")
    except OAuthError as fault:
        raise fault.about(client_id=authorization.client.client_id, user=owner.name) from None
    return form


def _consent_context(authorization: AuthorizationRequest, owner: ResourceOwner) -> list[str]:
    context = [owner.name]
    for name in sorted(authorization.parameters):
        context += (name, authorization.parameters[name])
    return context
