"""A browser and an OAuth client, both with nothing but HTTP; for tests that look closely."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests

from gateway.protocol.pkce import s256_challenge
from tests.support.running_gateway import PASSWORD

AUTHORIZE = "/oauth/authorize"
TOKEN = "/oauth/token"
REVOKE = "/oauth/revoke"
INTROSPECT = "/oauth/introspect"
FRAPPE = "/api/method/frappe.integrations.oauth2."
REDIRECT_URI = "http://localhost:3000/oauth_code"


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = named["action"]
        elif tag == "input" and "name" in named:
            self.fields[named["name"]] = named.get("value", "")
        elif tag == "button" and "name" in named:
            self.buttons.append((named["name"], named["value"]))


def form_of(page: requests.Response) -> _Form:
    """Return the (last) form of a page."""
    form = _Form()
    form.feed(page.text)
    return form


@dataclass
class Browser:
    """A browser of one user: cookies, forms, and no redirect followed unseen."""

    gateway: str
    session: requests.Session = field(default_factory=requests.Session)

    def get(self, target: str, **options: Any) -> requests.Response:
        """GET a target of the gateway, without following redirects."""
        return self.session.get(self._url(target), allow_redirects=False, **options)

    def post(self, target: str, data: Mapping[str, str], **options: Any) -> requests.Response:
        """POST a form to the gateway, without following redirects."""
        return self.session.post(self._url(target), data, allow_redirects=False, **options)

    def _url(self, target: str) -> str:
        return target if target.startswith("http") else self.gateway + target

    def sign_in(
        self, name: str = "demo", password: str = PASSWORD, target: str = ""
    ) -> requests.Response:
        """Fill in the sign-in form and send it."""
        page = self.get("/oauth/sign-in" + (f"?{urlencode({'next': target})}" if target else ""))
        form = form_of(page)
        fields = {**form.fields, "username": name, "password": password}
        return self.post(form.action, fields)

    def authorize(self, path: str = AUTHORIZE, **parameters: str) -> requests.Response:
        """Send an authorization request and return the first answer."""
        return self.get(f"{path}?{urlencode(parameters)}")

    def decide(self, page: requests.Response, decision: str = "allow") -> requests.Response:
        """Answer a confirmation page."""
        form = form_of(page)
        return self.post(form.action, {**form.fields, "decision": decision})

    def code(self, **parameters: str) -> str:
        """Go through authorization, signed in, and return the code."""
        answer = self.authorize(**authorization(**parameters))
        if answer.status_code == 200:
            answer = self.decide(answer)
        return answer_of(answer)["code"]


def authorization(**parameters: str) -> dict[str, str]:
    """Return the documented authorization request, with ``parameters`` over it."""
    return {
        "client_id": "my-app",
        "response_type": "code",
        "redirect_uri": REDIRECT_URI,
        "scope": "project",
        **parameters,
    }


def answer_of(response: requests.Response) -> dict[str, str]:
    """Return the parameters of an authorization response, from its redirect."""
    assert response.status_code in {302, 303}, response.text
    return dict(parse_qsl(urlsplit(response.headers["Location"]).query))


@dataclass
class Client:
    """An OAuth client at the gateway's token, revocation and introspection endpoints."""

    gateway: str
    client_id: str = "my-app"
    secret: str | None = None
    redirect_uri: str = REDIRECT_URI

    def post(self, path: str, data: Mapping[str, str] | str, **options: Any) -> requests.Response:
        """POST a form; a confidential client authenticates with Basic."""
        if self.secret is not None and "auth" not in options:
            options["auth"] = (self.client_id.encode(), _form_encoded(self.secret))
        return requests.post(self.gateway + path, data, timeout=20, **options)

    def redeem(self, code: str, **parameters: str) -> requests.Response:
        """Exchange a code."""
        return self._token(
            {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
            | parameters
        )

    def refresh(self, refresh_token: str, **parameters: str) -> requests.Response:
        """Exchange a refresh token."""
        return self._token(
            {"grant_type": "refresh_token", "refresh_token": refresh_token} | parameters
        )

    def revoke(self, token: str, **parameters: str) -> requests.Response:
        """Take a token back."""
        identity = {} if self.secret is not None else {"client_id": self.client_id}
        return self.post(REVOKE, {"token": token, **identity, **parameters})

    def introspect(self, token: str) -> requests.Response:
        """Ask what a token is good for."""
        return self.post(INTROSPECT, {"token": token})

    def _token(self, parameters: dict[str, str]) -> requests.Response:
        identity = {} if self.secret is not None else {"client_id": self.client_id}
        return self.post(TOKEN, identity | parameters)

    def get(self, target: str, token: str, **options: Any) -> requests.Response:
        """GET a resource with a bearer token."""
        headers = {"Authorization": f"Bearer {token}", **options.pop("headers", {})}
        return requests.get(self.gateway + target, headers=headers, timeout=20, **options)


def _form_encoded(secret: str) -> bytes:
    # RFC 6749 §2.3.1.
    return urlencode({"": secret})[1:].encode()


def pkce() -> tuple[str, dict[str, str]]:
    """Return a verifier, and the parameters that announce it."""
    verifier = secrets.token_urlsafe(48)
    challenge = {"code_challenge": s256_challenge(verifier), "code_challenge_method": "S256"}
    return verifier, challenge


def headers_of(echoed: Mapping[str, Any], name: str) -> list[str]:
    """Return every value of a header that the echo backend got."""
    return [value for key, value in echoed["headers"] if key.lower() == name.lower()]
