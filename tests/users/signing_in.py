"""The addresses of signing in and out, and who is signed in."""

from __future__ import annotations

from urllib.parse import urlencode

from tests.support.oauth_client import AUTHORIZE, Browser, authorization
from tests.support.running_gateway import RunningGateway

SIGN_IN = "/oauth/sign-in"
SIGN_OUT = "/oauth/sign-out"
APPLICATIONS = "/oauth/applications"
TRUSTED_PROXY = "127.0.0.2"

_TWO_URIS = authorization(client_id="two-uris", redirect_uri="com.example.two:/cb")
ASKED = f"{AUTHORIZE}?{urlencode(_TWO_URIS)}"


def is_signed_in(browser: Browser) -> bool:
    return browser.get(APPLICATIONS).status_code == 200


def session_of(browser: Browser) -> str:
    [cookie] = [cookie for cookie in browser.session.cookies if cookie.name == "gateway_session"]
    assert cookie.value is not None
    return cookie.value


def with_session(gateway: RunningGateway, session: str) -> Browser:
    """Return another browser that brings this session id."""
    browser = Browser(gateway.url)
    browser.session.headers["Cookie"] = f"gateway_session={session}"
    return browser


def post_form(target: str, fields: dict[str, str]) -> tuple[str, str, bytes]:
    """Return what :func:`tests.support.raw.request` needs to post a form."""
    return target, "Content-Type: application/x-www-form-urlencoded", urlencode(fields).encode()
