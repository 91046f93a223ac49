"""The pages around a user's session: sign-in, sign-out, and the applications with access."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from werkzeug.wrappers import Response

from gateway.clients.registry import Clients
from gateway.config.settings import Settings
from gateway.grants.authorization import AuthorizationRequest
from gateway.grants.authorization_server import AuthorizationServer
from gateway.grants.consent_store import ConsentStore
from gateway.grants.live_grants import LiveGrants
from gateway.http.peers import network_of
from gateway.observe.audit import Audit
from gateway.protocol.errors import OAuthError
from gateway.protocol.reasons import Why
from gateway.protocol.request_rules import FormKind, Submission, parse
from gateway.site.browser_session import BrowserSessions
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.pages import Application, Page, Pages
from gateway.site.responses import page_response, redirect_response
from gateway.store.rate_limits import AttemptLimit, FailureLimit, TooMany
from gateway.tokens.grant import Grant
from gateway.tokens.token import GRANT_ID, new_secret
from gateway.users.session_store import SessionStore
from gateway.users.sign_in import ResourceOwner, ResourceOwners

_LONGEST_NAME = 255


class SignInPages:
    """Sign-in, sign-out and the applications page. Everything raises StoreUnavailable."""

    def __init__(
        self,
        settings: Settings,
        *,
        pages: Pages,
        browsers: BrowserSessions,
        owners: ResourceOwners,
        sessions: SessionStore,
        consents: ConsentStore,
        grants: LiveGrants,
        authorization_server: AuthorizationServer,
        clients: Clients,
        by_name: AttemptLimit,
        by_address: FailureLimit,
        audit: Audit,
    ) -> None:
        self._settings = settings
        self._pages = pages
        self._browsers = browsers
        self._owners = owners
        self._sessions = sessions
        self._consents = consents
        self._grants = grants
        self._authorization_server = authorization_server
        self._clients = clients
        self._by_name = by_name
        self._by_address = by_address
        self._audit = audit
        paths = settings.endpoints
        self._return_paths = frozenset((*paths.authorize, *paths.applications))

    def sign_in(self, request: EndpointRequest) -> Response:
        """Show the form, or take what was filled in."""
        if self._settings.sign_in.method != "password":
            return page_response(self._elsewhere(), 404)
        if request.method == "POST":
            return self._signed_in(request)
        target = self._safe_target(dict(parse(request.submission(FormKind.PAGE))).get("next", ""))
        return self._form(request, target)

    def _signed_in(self, request: EndpointRequest) -> Response:
        fields = dict(parse(request.submission(FormKind.PAGE_FORM)))
        target = self._safe_target(fields.get("next", ""))
        name = fields.get("username", "")[:_LONGEST_NAME]
        if not self._browsers.is_form_token(request, fields.get("csrf_token"), "sign-in", target):
            self._record(request, "sign_in", "refused", user=name, why=Why.CSRF)
            message = "This page was open for too long, or cookies are off. Please try again."
            return self._form(request, target, username=name, error=message, status=403)
        where = network_of(request.address)
        try:
            self._by_address.check(where)
            # An attempt on a name counts before it is judged, so that many at once do too.
            self._by_name.count(name, where)
            owner = self._owners.by_password(name, fields.get("password", ""))
            if owner is None:
                self._by_address.count(where)
            else:
                # Of many at once, all may have been let in before the first was counted.
                self._by_address.check(where)
        except TooMany as stop:
            self._record(request, "sign_in", "refused", user=name, why=Why.TOO_MANY_ATTEMPTS)
            response = self._form(
                request,
                target,
                username=name,
                error=f"Too many attempts. Please wait {_in_words(stop.retry_after)}.",
                status=429,
            )
            response.headers["Retry-After"] = str(stop.retry_after)
            return response
        if owner is None:
            self._record(request, "sign_in", "refused", user=name, why=Why.WRONG_PASSWORD)
            message = "The user name or the password is wrong."
            return self._form(request, target, username=name, error=message, status=401)
        self._by_name.clear(name, where)
        return self._start_session(request, owner, target)

    def _start_session(
        self, request: EndpointRequest, owner: ResourceOwner, target: str
    ) -> Response:
        # A new id at sign-in: one that somebody planted before is worth nothing.
        session_id = new_secret()
        self._owners.start_session(session_id, owner)
        before = self._browsers.session_id(request)
        if before is not None:
            self._sessions.end(before)
        self._record(request, "sign_in", "allowed", user=owner.name)
        response = redirect_response(target, 303)
        self._browsers.set_cookie(response, session_id)
        return response

    def _form(
        self,
        request: EndpointRequest,
        target: str,
        *,
        username: str = "",
        error: str | None = None,
        status: int = 200,
    ) -> Response:
        session_id, is_new = self._browsers.with_session(request)
        asking = self._asking(target)
        page = self._pages.sign_in(
            action=self._settings.endpoints.sign_in[0],
            next=target,
            csrf_token=self._browsers.form_token(session_id, "sign-in", target),
            client_name=asking.client.name if asking else None,
            username=username,
            error=error,
        )
        response = page_response(page, status)
        if is_new:
            self._browsers.set_cookie(response, session_id)
        return response

    def _asking(self, target: str) -> AuthorizationRequest | None:
        """Return the authorization request that waits behind the sign-in, if it is a good one."""
        try:
            pairs = parse(Submission(FormKind.AUTHORIZE, encoded=urlsplit(target).query))
            return self._authorization_server.authorization_request(pairs)
        except OAuthError:
            return None

    def _safe_target(self, target: str) -> str:
        """Return where to go after sign-in: one of our own pages, or our default one.

        The path must be one of ours character for character, so nothing that a browser could
        take for another host gets through (OWASP: unvalidated redirects).
        """
        path, _, query = target.partition("?")
        if path in self._return_paths and query.isascii() and query.isprintable():
            return target
        return self._settings.endpoints.applications[0]

    def sign_out(self, request: EndpointRequest) -> Response:
        """Ask whether to sign out, or do it."""
        if self._settings.sign_in.method != "password":
            return page_response(self._elsewhere(), 404)
        back = dict(parse(request.submission(FormKind.PAGE))).get("next", "")
        owner = self._browsers.current_user(request)
        if owner is None:
            return self._signed_out(request, back)
        if request.method == "POST":
            fields = dict(parse(request.submission(FormKind.PAGE_FORM)))
            if self._browsers.is_form_token(
                request, fields.get("csrf_token"), "sign-out", owner.name
            ):
                self._sessions.end(self._browsers.session_id(request) or "")
                self._record(request, "sign_out", "allowed", user=owner.name)
                return self._signed_out(request, back)
            self._record(request, "sign_out", "refused", user=owner.name, why=Why.CSRF)
        session_id, _ = self._browsers.with_session(request)
        page = self._pages.sign_out_confirm(
            action=request.target,
            csrf_token=self._browsers.form_token(session_id, "sign-out", owner.name),
            user_name=owner.full_name or owner.name,
        )
        return page_response(page, 403 if request.method == "POST" else 200)

    def _signed_out(self, request: EndpointRequest, back: str) -> Response:
        target = self._safe_target(back) if back else ""
        sign_in_url = self._browsers.sign_in_url(target or self._safe_target(""))
        if target and sign_in_url and request.method == "POST":
            response = redirect_response(sign_in_url, 303)
        else:
            response = page_response(self._pages.signed_out(sign_in_url=sign_in_url))
        self._browsers.delete_cookie(response)
        return response

    def applications(self, request: EndpointRequest) -> Response:
        """Show which applications have access to the user's account, and take it back."""
        owner = self._browsers.current_user(request)
        if owner is None:
            sign_in_url = self._browsers.sign_in_url(request.path)
            if sign_in_url is None:
                return page_response(self._elsewhere(), 403)
            return redirect_response(sign_in_url, 303 if request.method == "POST" else 302)
        if request.method == "POST":
            return self._take_back(request, owner)
        return self._show_applications(request, owner)

    def _take_back(self, request: EndpointRequest, owner: ResourceOwner) -> Response:
        fields = dict(parse(request.submission(FormKind.PAGE_FORM)))
        wanted = fields.get("grant_id", "")
        if not self._browsers.is_form_token(
            request, fields.get("csrf_token"), "applications", owner.name
        ):
            self._record(request, "grant.revoke", "refused", user=owner.name, why=Why.CSRF)
            return self._show_applications(request, owner, status=403)
        own = {grant.grant_id: grant for grant in self._grants.live_grants(user=owner.name)}
        grant = own.get(wanted) if GRANT_ID.fullmatch(wanted) else None
        if grant is not None:
            self._grants.end(grant)
            registered = self._clients.find(grant.client_id)
            if registered is not None:
                self._consents.forget(owner.name, registered.client)
            self._record(
                request,
                "grant.revoke",
                "allowed",
                user=owner.name,
                client_id=grant.client_id,
                grant_id=grant.grant_id,
            )
        return redirect_response(request.path, 303)

    def _show_applications(
        self, request: EndpointRequest, owner: ResourceOwner, status: int = 200
    ) -> Response:
        session_id, is_new = self._browsers.with_session(request)
        page = self._pages.applications(
            action=request.path,
            csrf_token=self._browsers.form_token(session_id, "applications", owner.name),
            user_name=owner.full_name or owner.name,
            user_detail=owner.email or (owner.name if owner.full_name else ""),
            applications=[
                self._application(grant) for grant in self._grants.live_grants(user=owner.name)
            ],
            sign_out_url=self._sign_out_url(),
        )
        response = page_response(page, status)
        if is_new:
            self._browsers.set_cookie(response, session_id)
        return response

    def _sign_out_url(self) -> str:
        is_ours = self._settings.sign_in.method == "password"
        return self._settings.endpoints.sign_out[0] if is_ours else ""

    def _application(self, grant: Grant) -> Application:
        registered = self._clients.find(grant.client_id)
        return Application(
            grant.grant_id,
            registered.client.name if registered else grant.client_id,
            _date(grant.since),
            _date(grant.used),
            in_words(grant.scope.split(), self._settings.scopes),
        )

    def _elsewhere(self) -> Page:
        return self._pages.error(
            title="Sign in elsewhere",
            message="This site signs you in by other means, before you come here.",
        )

    def _record(self, request: EndpointRequest, event: str, outcome: str, **members: str) -> None:
        self._audit.record(event, outcome=outcome, address=request.address, **members)


def in_words(scopes: list[str], descriptions: Mapping[str, str]) -> list[str]:
    """Return what each scope means, its name where nobody has said."""
    return [descriptions.get(name, name) for name in scopes]


def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _in_words(seconds: int) -> str:
    if seconds < 90:  # noqa: PLR2004 - a minute and a half still reads well in seconds
        return f"{seconds} seconds"
    return f"{-(-seconds // 60)} minutes"
