"""The sample client: a small web application that lets people in with the gateway.

It holds no password and asks for two scopes. Everything it does is a link or a form.
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

# What is shown to be pasted into a shell; anybody can make a link with other things in it.
_CODE = re.compile(r"[A-Za-z0-9_-]+")


class SampleClient:
    """A WSGI application."""

    def __init__(self, addresses: Addresses, pages: Pages) -> None:
        self._addresses = addresses
        self._pages = pages
        self._sessions = Sessions()
        self._server = AuthorizationServer(
            addresses.issuer, CLIENT_ID, addresses.redirect_uri, "project profile"
        )
        # Cookies are for a host with all its ports, and another demo may run beside this one.
        self._cookie = f"my_app_{urlsplit(addresses.client).port}"
        self._gets = {
            "/": self._home,
            "/sign-in": self._sign_in,
            urlsplit(addresses.redirect_uri).path: self._come_back,
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
            response = self._answer(request, session)
        except Unreachable as error:
            response = self._problem("The gateway does not answer", f"{error}.", 502)
        return response(environ, start_response)

    def _answer(self, request: Request, session: Session) -> Response:
        if request.path in self._posts and request.method == "POST":
            if session.tokens is None:
                return redirect("/", 303)
            if not secrets.compare_digest(
                request.form.get("csrf_token", "").encode(), session.csrf_token.encode()
            ):
                return self._problem(
                    "Please try that again",
                    "The form was not one that this browser was shown.",
                    403,
                )
            return self._posts[request.path](session, session.tokens)
        if request.path in self._gets and request.method in {"GET", "HEAD"}:
            return self._gets[request.path](request, session)
        return self._problem("There is nothing here", "My App has no page of this name.", 404)

    # --- Signing in

    def _home(self, request: Request, session: Session) -> Response:
        return self._pages.response(
            "home.html", session=session, addresses=self._addresses, path=_PROJECTS
        )

    def _sign_in(self, request: Request, session: Session) -> Response:
        response = redirect(self._server.authorization_url(session.ask()))
        return self._keep(session, response)

    def _come_back(self, request: Request, session: Session) -> Response:
        """RFC 6749 §4.1.2: the browser brings a code, or an error, and the state."""
        answer = request.args
        # RFC 9207 §2.4: an answer of another server is not ours to use. This one always says.
        if "iss" in answer and answer["iss"] != self._addresses.issuer:
            return self._problem(
                "This answer is from somewhere else",
                "It names another authorization server, so its code was not used.",
                400,
            )
        if "state" not in answer and _CODE.fullmatch(answer.get("code", "")):
            return self._by_hand(answer["code"])
        pending = session.answered(answer.get("state", ""))
        if pending is None and "state" in answer:
            return self._problem(
                "This sign-in did not begin here",
                "This browser asked for no such answer, or it was used already. Nothing was done.",
                400,
            )
        if "error" in answer:
            return self._refused(answer["error"])
        if pending is None or "code" not in answer or "iss" not in answer:
            return self._problem(
                "This answer says nothing", "It holds neither code nor error.", 400
            )
        redeemed = self._server.redeem(answer["code"], pending)
        if redeemed.status != HTTPStatus.OK:
            return self._problem("The code was not accepted", redeemed.answer, 502)
        return self._signed_in(session, redeemed)

    def _by_hand(self, code: str) -> Response:
        """Show a code that came of the printed link: it is for a shell, not for this client."""
        exchange = Walkthrough(self._addresses).exchange
        return self._pages.response("by_hand.html", code=code, exchange=exchange)

    def _refused(self, error: str) -> Response:
        if error == "access_denied":
            return self._problem("You are not signed in", "You did not allow it. That is fine.")
        return self._problem("You are not signed in", f"The gateway answered {error}.", 400)

    def _signed_in(self, before: Session, redeemed: Exchange) -> Response:
        """Go on under a new session id, which nobody can have known before (session fixation)."""
        self._sessions.remove(before)
        tokens = Tokens.of(redeemed)
        who = self._server.call(_WHO_AM_I, tokens.access_token)
        session = Session(user=who.members.get("user"), tokens=tokens, last=redeemed)
        # To a clean address: the code is not left in it.
        return self._keep(session, redirect("/", 303))

    # --- What somebody who is signed in can do

    def _call(self, session: Session, tokens: Tokens) -> Response:
        session.last = self._server.call(_PROJECTS, tokens.access_token)
        return redirect("/", 303)

    def _refresh(self, session: Session, tokens: Tokens) -> Response:
        session.last = self._server.refresh(tokens.refresh_token)
        if session.last.status == HTTPStatus.OK:
            session.tokens = Tokens.of(session.last)
        return redirect("/", 303)

    def _revoke(self, session: Session, tokens: Tokens) -> Response:
        # The tokens are kept, to see what becomes of a call with them.
        session.last = self._server.revoke(tokens.refresh_token)
        session.revoked = session.last.status == HTTPStatus.OK
        return redirect("/", 303)

    def _sign_out(self, session: Session, tokens: Tokens) -> Response:
        self._sessions.remove(session)
        self._server.revoke(tokens.refresh_token)
        response = redirect("/", 303)
        response.delete_cookie(self._cookie, httponly=True, samesite="Lax")
        return response

    def _keep(self, session: Session, response: Response) -> Response:
        self._sessions.add(session)
        response.set_cookie(self._cookie, session.session_id, httponly=True, samesite="Lax")
        response.headers["Cache-Control"] = "no-store"
        return response

    def _problem(self, title: str, message: str, status: int = 200) -> Response:
        return self._pages.response("problem.html", status, title=title, message=message)
