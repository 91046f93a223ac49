"""The page that shows a user which applications have access, and takes that access back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from werkzeug.wrappers import Response

from gateway.clients.registry import Clients
from gateway.grants.consent_store import ConsentStore
from gateway.grants.live_grants import LiveGrants
from gateway.observe.audit import Audit
from gateway.protocol.reasons import Why
from gateway.protocol.request_rules import FormKind, parse
from gateway.site.browser_form import BrowserForm
from gateway.site.browser_session import BrowserSessions
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.pages import Application, Page, Pages
from gateway.site.responses import page_response, redirect_response
from gateway.tokens.grant import Grant
from gateway.tokens.token import GRANT_ID, TokenKeys
from gateway.users.sign_in_method import ResourceOwner


class ApplicationsPage:
    """The applications page. ``scopes`` maps the name of a scope to its description."""

    def __init__(
        self,
        scopes: Mapping[str, str],
        *,
        pages: Pages,
        browsers: BrowserSessions,
        keys: TokenKeys,
        consents: ConsentStore,
        grants: LiveGrants,
        clients: Clients,
        audit: Audit,
    ) -> None:
        self._scopes = scopes
        self._pages = pages
        self._browsers = browsers
        self._form = BrowserForm("applications", browsers, keys)
        self._consents = consents
        self._grants = grants
        self._clients = clients
        self._audit = audit

    def __call__(self, request: EndpointRequest) -> Response:
        """GET: show the applications. POST: take back the access of one of them.

        Raises StoreUnavailable and BackendUnreachable.
        """
        owner = self._browsers.current_user(request)
        if owner is None:
            return self._to_sign_in(request)
        if request.method == "POST":
            return self._submit(request, owner)
        return self._show(request, owner)

    def _to_sign_in(self, request: EndpointRequest) -> Response:
        sign_in_url = self._browsers.sign_in_url(request.path)
        if sign_in_url is None:
            return page_response(self._pages.sign_in_elsewhere(), 403)
        return redirect_response(sign_in_url, 303 if request.method == "POST" else 302)

    def _submit(self, request: EndpointRequest, owner: ResourceOwner) -> Response:
        fields = dict(parse(request.submission(FormKind.PAGE_FORM)))
        if not self._form.is_genuine(request, fields.get("csrf_token"), [owner.name]):
            self._record(request, owner, "refused", why=Why.CSRF)
            return self._show(request, owner, status=403)
        grant = self._own_grant(owner, fields.get("grant_id", ""))
        if grant is not None:
            self._take_back(grant, owner)
            self._record(
                request, owner, "allowed", client_id=grant.client_id, grant_id=grant.grant_id
            )
        return redirect_response(request.path, 303)

    def _own_grant(self, owner: ResourceOwner, grant_id: str) -> Grant | None:
        """Return the grant with this id if it is one of the user's own."""
        if GRANT_ID.fullmatch(grant_id) is None:
            return None
        own = {grant.grant_id: grant for grant in self._grants.live_grants(user=owner.name)}
        return own.get(grant_id)

    def _take_back(self, grant: Grant, owner: ResourceOwner) -> None:
        """End the grant, and forget the consent, so that the application has to ask again."""
        self._grants.end(grant)
        registered = self._clients.find(grant.client_id)
        if registered is not None:
            self._consents.forget(owner.name, registered.client)

    def _show(self, request: EndpointRequest, owner: ResourceOwner, status: int = 200) -> Response:
        grants = self._grants.live_grants(user=owner.name)

        def render(csrf_token: str) -> Page:
            return self._pages.applications(
                action=request.path,
                csrf_token=csrf_token,
                user_name=owner.display_name,
                user_detail=owner.display_detail,
                applications=[self._application(grant) for grant in grants],
                sign_out_url=self._browsers.sign_out_url(),
            )

        return self._form.show(request, [owner.name], render, status)

    def _application(self, grant: Grant) -> Application:
        registered = self._clients.find(grant.client_id)
        return Application(
            grant.grant_id,
            registered.client.name if registered else grant.client_id,
            _date(grant.since),
            _date(grant.used),
            [self._scopes.get(name, name) for name in grant.scope.split()],
        )

    def _record(
        self, request: EndpointRequest, owner: ResourceOwner, outcome: str, **members: str
    ) -> None:
        self._audit.record(
            "grant.revoke", outcome=outcome, user=owner.name, address=request.address, **members
        )


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
