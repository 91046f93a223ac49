"""The page that shows a user which applications have access, and takes that access back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from time import time

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
from gateway.tokens.token import TokenKeys
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
        self._form = BrowserForm("applications", browsers, keys, pages)
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
        self._take_back(request, owner, fields.get("client_id", ""))
        return redirect_response(request.path, 303)

    def _take_back(self, request: EndpointRequest, owner: ResourceOwner, client_id: str) -> None:
        """End every grant of the user to the application, also those whose code is on its way."""
        registered = self._clients.find(client_id)
        if registered is not None:
            # The consent goes first: with it, the application could get a new grant meanwhile.
            self._consents.forget(owner.name, registered.client)
        for grant in self._grants.end_all(user=owner.name, client_id=client_id):
            self._record(request, owner, "allowed", client_id=client_id, grant_id=grant.grant_id)

    def _show(self, request: EndpointRequest, owner: ResourceOwner, status: int = 200) -> Response:
        applications = [
            self._application(client_id, grants)
            for client_id, grants in _by_client(self._grants.live_grants(user=owner.name))
        ]

        def render(csrf_token: str) -> Page:
            return self._pages.applications(
                action=request.path,
                csrf_token=csrf_token,
                user_name=owner.display_name,
                user_detail=owner.display_detail,
                applications=applications,
                sign_out_url=self._browsers.sign_out_url(),
            )

        return self._form.show(request, [owner.name], render, status)

    def _application(self, client_id: str, grants: Sequence[Grant]) -> Application:
        """Return what the page says of one application, which has all these grants."""
        registered = self._clients.find(client_id)
        scopes = dict.fromkeys(name for grant in grants for name in grant.scope.split())
        return Application(
            client_id,
            registered.client.name if registered else client_id,
            since=_date(min(grant.since for grant in grants)),
            last_used=_date(max(grant.used for grant in grants)),
            ends=_time_left(max(grant.ends for grant in grants) - int(time())),
            scopes=[self._scopes.get(name, name) for name in scopes],
        )

    def _record(
        self, request: EndpointRequest, owner: ResourceOwner, outcome: str, **members: str
    ) -> None:
        self._audit.record(
            "grant.revoke", outcome=outcome, user=owner.name, address=request.address, **members
        )


def _by_client(grants: Sequence[Grant]) -> list[tuple[str, list[Grant]]]:
    """Return the grants of each client; the client with the newest grant comes first."""
    order = list(dict.fromkeys(grant.client_id for grant in grants))
    together = sorted(grants, key=lambda grant: order.index(grant.client_id))
    return [(name, list(own)) for name, own in groupby(together, lambda grant: grant.client_id)]


def _time_left(seconds: int) -> str:
    """Say in words how long that is: ``in 90 days at the latest``."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = round(seconds / length)
        if count > 1:
            return f"in {count} {unit}s at the latest"
    return "in a minute"


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
