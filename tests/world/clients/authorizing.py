"""A user who signs in at the gateway and decides about a client."""

from __future__ import annotations

from tests.support.oauth_client import Browser
from tests.support.running_gateway import RunningGateway


def answered(gateway: RunningGateway, url: str, decision: str = "allow") -> str:
    """Open a client's authorization URL, sign in, decide; return where the browser is sent."""
    browser = Browser(gateway.url)
    to_sign_in = browser.get(url)
    assert to_sign_in.status_code == 302, to_sign_in.text
    signed_in = browser.sign_in(target=url.removeprefix(gateway.url))
    assert signed_in.status_code == 303
    confirmation = browser.get(signed_in.headers["Location"])
    assert confirmation.status_code == 200, confirmation.text
    return browser.decide(confirmation, decision).headers["Location"]
