"""The sample client: a small web application whose users sign in with the gateway.

It sees no password and asks for two scopes. Everything it does is a link or a form.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from gateway.demo.addresses import Addresses
from gateway.demo.oauth import AuthorizationServer, Exchange, Unreachable
from gateway.demo.pages import Pages
from gateway.demo.sessions import Session, Sessions, Tokens
from gateway.demo.walkthrough import CLIENT_ID, Walkthrough

_PROJECTS = "/api/resource/Project"
_WHO_AM_I = "/api/whoami"
_LONGEST_FORM = 10_000

# A page shows a code for pasting into a shell. Anybody can make a link with a harmful code, so no
# other characters are shown.
_CODE = re.compile(r"[A-Za-z0-9_-]+")


class SampleClient:
    """The client as a WSGI application."""

    def __init__(self, addresses: Addresses, pages: Pages) -> None:
        self._addresses = addresses
        self._pages = pages
        self._sessions = Sessions()
        self._server = AuthorizationServer(
            addresses.issuer, CLIENT_ID, addresses.redirect_uri, "project profile"
        )
        # A cookie is for all ports of a host, and another demo may run on this one.
        self._cookie = f"my_app_{urlsplit(addresses.client).port}"
        self._gets = {
            "/": self._home,
            "/sign-in": self._sign_in,
            urlsplit(addresses.redirect_uri).path: self._take_response,
        }
        self._posts = {
            "/call": self._call,
            "/refresh": self._refresh,
            "/revoke": self._revoke,
            "/sign-out": self._sign_out,
        }

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        request = Request(environ)
        request.max_content_length = _LONGEST_FORM
        session = self._sessions.find(request.cookies.get(self._cookie)) or Session()
        try:
            response = self._respond(request, session)
        except Unreachable as error:
            response = self._problem("The gateway does not answer", f"{error}.", 502)
        return response(environ, start_response)

    def _respond(self, request: Request, session: Session) -> Response:
        if request.path in self._posts and request.method == "POST":
            if session.tokens is None:
                return redirect("/", 303)
            if not secrets.compare_digest(
                request.form.get("csrf_token", "").encode(), session.csrf_token.encode()
            ):
                return self._problem(
                    "Please try that again",
                    "This browser was not shown that form.",
                    403,
                )
            return self._posts[request.path](session, session.tokens)
        if request.path in self._gets and request.method in {"GET", "HEAD"}:
            return self._gets[request.path](request, session)
        return self._problem("There is nothing here", "My App has no page of this name.", 404)

    # --- Pages for users who sign in

    def _home(self, request: Request, session: Session) -> Response:
        return self._pages.response(
            "home.html", session=session, addresses=self._addresses, path=_PROJECTS
        )

    def _sign_in(self, request: Request, session: Session) -> Response:
        response = redirect(self._server.authorization_url(session.start_authorization()))
        return self._remember(session, response)

    def _take_response(self, request: Request, session: Session) -> Response:
        """RFC 6749 §4.1.2: the browser brings a code, or an error, and the state."""
        response = request.args
        # RFC 9207 §2.4: the response of another server must not be used. This one names its issuer.
        if "iss" in response and response["iss"] != self._addresses.issuer:
            return self._problem(
                "This response comes from another server",
                "It names another authorization server, so its code was not used.",
                400,
            )
        if "state" not in response and _CODE.fullmatch(response.get("code", "")):
            return self._show_code(response["code"])
        pending = session.end_authorization(response.get("state", ""))
        if pending is None and "state" in response:
            return self._problem(
                "This sign-in did not begin here",
                "This browser did not ask for it, or it was used before. Nothing was done.",
                400,
            )
        if "error" in response:
            return self._show_refusal(response["error"])
        if pending is None or "code" not in response or "iss" not in response:
            return self._problem(
                "This response is not complete", "It lacks a code, or its issuer.", 400
            )
        exchange = self._server.redeem(response["code"], pending)
        if exchange.status != HTTPStatus.OK:
            return self._problem("The code was not accepted", exchange.response, 502)
        return self._start_session(session, exchange)

    def _show_code(self, code: str) -> Response:
        """Show a code that the printed link asked for: it is for a shell, not for this client."""
        exchange = Walkthrough(self._addresses).exchange
        return self._pages.response("by_hand.html", code=code, exchange=exchange)

    def _show_refusal(self, error: str) -> Response:
        if error == "access_denied":
            return self._problem("You are not signed in", "You did not allow it. That is fine.")
        return self._problem("You are not signed in", f"The gateway answered {error}.", 400)

    def _start_session(self, before: Session, exchange: Exchange) -> Response:
        """Sign the user in under a new session id, which nobody can know yet (session fixation)."""
        self._sessions.remove(before)
        tokens = Tokens.of(exchange)
        who = self._server.call(_WHO_AM_I, tokens.access_token)
        session = Session(user=who.members.get("user"), tokens=tokens, last=exchange)
        # The redirect leaves an address without the code in it.
        return self._remember(session, redirect("/", 303))

    # --- Forms for users who are signed in

    def _call(self, session: Session, tokens: Tokens) -> Response:
        session.last = self._server.call(_PROJECTS, tokens.access_token)
        return redirect("/", 303)

    def _refresh(self, session: Session, tokens: Tokens) -> Response:
        session.last = self._server.refresh(tokens.refresh_token)
        if session.last.status == HTTPStatus.OK:
            session.tokens = Tokens.of(session.last)
        return redirect("/", 303)

    def _revoke(self, session: Session, tokens: Tokens) -> Response:
        # The tokens are kept, so that the user can try a call with them.
        session.last = self._server.revoke(tokens.refresh_token)
        session.revoked = session.last.status == HTTPStatus.OK
        return redirect("/", 303)

    def _sign_out(self, session: Session, tokens: Tokens) -> Response:
        self._sessions.remove(session)
        self._server.revoke(tokens.refresh_token)
        response = redirect("/", 303)
        response.delete_cookie(self._cookie, httponly=True, samesite="Lax")
        return response

    def _remember(self, session: Session, response: Response) -> Response:
        self._sessions.add(session)
        response.set_cookie(self._cookie, session.session_id, httponly=True, samesite="Lax")
        response.headers["Cache-Control"] = "no-store"
        return response

    def _problem(self, title: str, message: str, status: int = 200) -> Response:
        return self._pages.response("problem.html", status, title=title, message=message)
