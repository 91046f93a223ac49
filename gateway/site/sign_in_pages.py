"""The pages that sign a user in with a password, and out again."""

from __future__ import annotations

from collections.abc import Iterable
from unicodedata import normalize
from urllib.parse import urlsplit

from werkzeug.wrappers import Response

from gateway.config.settings import Settings
from gateway.grants.authorization import AuthorizationRequest
from gateway.grants.authorization_server import AuthorizationServer
from gateway.grants.waiting_requests import WaitingRequests
from gateway.http.peers import network_of
from gateway.observe.audit import Audit
from gateway.protocol.errors import OAuthError
from gateway.protocol.reasons import Why
from gateway.protocol.request_rules import FormKind, Submission, parse
from gateway.site.browser_form import BrowserForm
from gateway.site.browser_session import BrowserSessions
from gateway.site.endpoint_request import EndpointRequest
from gateway.site.known_browser import KnownBrowsers
from gateway.site.pages import Page, Pages
from gateway.site.responses import page_response, redirect_response
from gateway.store.rate_limits import AttemptLimit, FailureLimit, TooMany
from gateway.tokens.token import TokenKeys, new_secret
from gateway.users.password_sign_in import PasswordSignIn
from gateway.users.sign_in_method import ResourceOwner

_LONGEST_NAME = 255


_Counted = tuple[FailureLimit, str, str]


def _forgive(counted: Iterable[_Counted]) -> None:
    for limit, attempt_id, party in counted:
        limit.forgive(attempt_id, party)


class SignInPages:
    """Sign-in and sign-out with ``sign_in.method = "password"``.

    ``by_name`` limits the attempts on a name from one network, ``anywhere`` the failures for a name
    from all of them, ``by_address`` the failures of a network. Both pages raise StoreUnavailable.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pages: Pages,
        browsers: BrowserSessions,
        sign_in: PasswordSignIn,
        keys: TokenKeys,
        authorization_server: AuthorizationServer,
        waiting: WaitingRequests,
        by_name: AttemptLimit,
        anywhere: FailureLimit,
        by_address: FailureLimit,
        audit: Audit,
    ) -> None:
        self._paths = settings.endpoints
        self._return_paths = frozenset((*self._paths.authorize, *self._paths.applications))
        self._pages = pages
        self._browsers = browsers
        self._sign_in = sign_in
        self._sign_in_form = BrowserForm("sign-in", browsers, keys, pages)
        self._sign_out_form = BrowserForm("sign-out", browsers, keys, pages)
        self._authorization_server = authorization_server
        self._waiting = waiting
        self._by_name = by_name
        self._anywhere = anywhere
        self._by_address = by_address
        self._known_browsers = KnownBrowsers(browsers, keys)
        self._audit = audit

    def sign_in(self, request: EndpointRequest) -> Response:
        """GET: show the form. POST: check the password, and sign the user in."""
        if request.method == "POST":
            return self._submit(request)
        return self._show_form(request, self._next_target(request))

    def _submit(self, request: EndpointRequest) -> Response:
        fields = dict(parse(request.submission(FormKind.PAGE_FORM)))
        target = self._safe_target(fields.get("next", ""))
        # In NFC, or each spelling of one name would have attempts of its own.
        name = normalize("NFC", fields.get("username", "")[:_LONGEST_NAME])
        if not self._sign_in_form.is_genuine(request, fields.get("csrf_token"), [target]):
            self._record(request, "sign_in", "refused", user=name, why=Why.CSRF)
            message = "This page was open for too long, or cookies are off. Please try again."
            return self._show_form(request, target, username=name, error=message, status=403)
        try:
            owner = self._check_password(request, name, fields.get("password", ""))
        except TooMany as stop:
            self._record(request, "sign_in", "refused", user=name, why=Why.TOO_MANY_ATTEMPTS)
            return self._too_many_attempts(request, target, name, stop.retry_after)
        if owner is None:
            self._record(request, "sign_in", "refused", user=name, why=Why.WRONG_PASSWORD)
            message = "The user name or the password is wrong."
            return self._show_form(request, target, username=name, error=message, status=401)
        return self._start_session(request, owner, target)

    def _check_password(
        self, request: EndpointRequest, name: str, password: str
    ) -> ResourceOwner | None:
        """Return the user if the password is right. Raises TooMany."""
        network = network_of(request.address)
        # Counted before the password is hashed, so that attempts made at once all count.
        counted = self._count(request, name, network)
        owner = self._sign_in.check_password(name, password, network)
        if owner is not None:
            _forgive(counted)
            self._by_name.clear(name, network)
        return owner

    def _count(self, request: EndpointRequest, name: str, network: str) -> list[_Counted]:
        """Count an attempt of the network, of the name anywhere, and of both. Raises TooMany.

        The owner of a name for which many networks fail still signs in from a browser that the
        owner has used before.
        """
        counted = [(self._by_address, self._by_address.count(network), network)]
        try:
            if not self._known_browsers.is_known(request, name):
                counted.append((self._anywhere, self._anywhere.count(name), name))
            self._by_name.count(name, network)
        except TooMany:
            # The name stands for it alone: others at this address may sign in.
            _forgive(counted)
            raise
        return counted

    def _too_many_attempts(
        self, request: EndpointRequest, target: str, name: str, retry_after: int
    ) -> Response:
        message = f"Too many attempts. Please wait {_in_words(retry_after)}."
        response = self._show_form(request, target, username=name, error=message, status=429)
        response.headers["Retry-After"] = str(retry_after)
        return response

    def _start_session(
        self, request: EndpointRequest, owner: ResourceOwner, target: str
    ) -> Response:
        # A new id at each sign-in: an id that an attacker planted before is worthless.
        session_id = new_secret()
        self._sign_in.start_session(session_id, owner)
        self._end_sessions(request)
        self._record(request, "sign_in", "allowed", user=owner.name)
        response = redirect_response(target, 303)
        self._browsers.set_session_id(response, session_id)
        name = normalize("NFC", owner.name)
        self._browsers.set_known_proof(response, self._known_browsers.new_proof(name))
        return response

    def _end_sessions(self, request: EndpointRequest) -> None:
        for session_id in self._browsers.session_ids(request):
            self._sign_in.end_session(session_id)

    def _show_form(
        self,
        request: EndpointRequest,
        target: str,
        *,
        username: str = "",
        error: str | None = None,
        status: int = 200,
    ) -> Response:
        waiting = self._waiting_request(request, target)
        fault_of_scheme = self._browsers.fault_of_scheme(request)

        def render(csrf_token: str) -> Page:
            return self._pages.sign_in(
                action=self._paths.sign_in[0],
                next=target,
                csrf_token=csrf_token,
                client_name=waiting.client.name if waiting else None,
                username=username,
                error=error or fault_of_scheme,
            )

        return self._sign_in_form.show(request, [target], render, status)

    def _waiting_request(
        self, request: EndpointRequest, target: str
    ) -> AuthorizationRequest | None:
        """Return the authorization request that the sign-in leads on to, if it is a valid one."""
        try:
            sent = parse(Submission(FormKind.AUTHORIZE, encoded=urlsplit(target).query))
            pairs = self._waiting.find(sent, self._browsers.browser_ids(request))
            return self._authorization_server.authorization_request(pairs)
        except OAuthError:
            return None

    def _next_target(self, request: EndpointRequest) -> str:
        return self._safe_target(dict(parse(request.submission(FormKind.PAGE))).get("next", ""))

    def _safe_target(self, target: str) -> str:
        """Return ``target`` if it is one of the gateway's own pages, else the applications page.

        The path must be one of the gateway's, character for character. So nothing that a browser
        could take for another host gets through (OWASP: unvalidated redirects).
        """
        path, _, query = target.partition("?")
        if path in self._return_paths and query.isascii() and query.isprintable():
            return target
        return self._paths.applications[0]

    def sign_out(self, request: EndpointRequest) -> Response:
        """GET: ask whether to sign out. POST: sign the user out."""
        back = dict(parse(request.submission(FormKind.PAGE))).get("next", "")
        owner = self._browsers.current_user(request)
        if owner is None:
            return self._show_signed_out(request, back)
        if request.method != "POST":
            return self._ask_to_sign_out(request, owner)
        fields = dict(parse(request.submission(FormKind.PAGE_FORM)))
        if not self._sign_out_form.is_genuine(request, fields.get("csrf_token"), [owner.name]):
            self._record(request, "sign_out", "refused", user=owner.name, why=Why.CSRF)
            return self._ask_to_sign_out(request, owner, status=403)
        self._end_sessions(request)
        self._record(request, "sign_out", "allowed", user=owner.name)
        response = self._show_signed_out(request, back)
        self._browsers.delete_session_id(response)
        return response

    def _ask_to_sign_out(
        self, request: EndpointRequest, owner: ResourceOwner, status: int = 200
    ) -> Response:
        def render(csrf_token: str) -> Page:
            return self._pages.sign_out_confirm(
                action=request.target, csrf_token=csrf_token, user_name=owner.display_name
            )

        return self._sign_out_form.show(request, [owner.name], render, status)

    def _show_signed_out(self, request: EndpointRequest, back: str) -> Response:
        """Say that nobody is signed in; after a POST go ``back`` by way of the sign-in page.

        No cookie changes here: a foreign page's request comes without the cookie, and must not
        delete it.
        """
        sign_in_url = self._sign_in.sign_in_url(self._safe_target(back))
        if back and request.method == "POST":
            return redirect_response(sign_in_url, 303)
        return page_response(self._pages.signed_out(sign_in_url=sign_in_url))

    def _record(self, request: EndpointRequest, event: str, outcome: str, **members: str) -> None:
        self._audit.record(event, outcome=outcome, address=request.address, **members)


class SignInElsewhere:
    """The same two pages with the other ways to sign in: each is a 404 that says so."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def sign_in(self, request: EndpointRequest) -> Response:
        """Say that users sign in elsewhere."""
        return page_response(self._pages.sign_in_elsewhere(), 404)

    def sign_out(self, request: EndpointRequest) -> Response:
        """Say the same: users sign out there too."""
        return page_response(self._pages.sign_in_elsewhere(), 404)


def _in_words(seconds: int) -> str:
    if seconds < 90:  # noqa: PLR2004 - a minute and a half still reads well in seconds
        return f"{seconds} seconds"
    return f"{-(-seconds // 60)} minutes"
