"""Who takes part: users who are signed in once for many tests, and the registered clients."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from tests.support.oauth_client import Browser, Client, pkce
from tests.support.running_gateway import CONFIDENTIAL_SECRET, SERVICE_SECRET, RunningGateway


@dataclass(frozen=True)
class Tokens:
    """What a client was given."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)


@dataclass(frozen=True)
class Parties:
    """The browser of a signed-in user, and the clients, at one gateway.

    Every test gets grants of its own; the browser is shared, since a sign-in is slow.
    """

    url: str
    browser: Browser

    @property
    def public(self) -> Client:
        """The documented public client: no secret, no PKCE."""
        return Client(self.url)

    @property
    def with_pkce(self) -> Client:
        """A public client that must use PKCE."""
        return Client(self.url, "pkce-app", redirect_uri="https://app.example/cb")

    @property
    def confidential(self) -> Client:
        """A client with a secret."""
        return Client(
            self.url, "confidential", CONFIDENTIAL_SECRET, "https://confidential.example/cb"
        )

    @property
    def service(self) -> Client:
        """A client that acts for itself, and has no users."""
        return Client(self.url, "service", SERVICE_SECRET)

    @property
    def resource_server(self) -> Client:
        """A client that may ask about any token."""
        return Client(self.url, "resource-server", SERVICE_SECRET)

    def code(self, client: Client, **parameters: str) -> str:
        """Let the user allow ``client`` what it asks for; return the code."""
        return self.browser.code(
            client_id=client.client_id, **{"redirect_uri": client.redirect_uri, **parameters}
        )

    def code_with_pkce(self) -> tuple[str, str]:
        """Return a code for the client with PKCE, and its verifier."""
        verifier, challenge = pkce()
        return self.code(self.with_pkce, **challenge), verifier

    def tokens(self, client: Client, **parameters: str) -> Tokens:
        """Let the user allow ``client`` what it asks for; return the tokens."""
        answer = client.redeem(self.code(client, **parameters))
        assert answer.status_code == 200, answer.text
        return Tokens(answer.json()["access_token"], answer.json()["refresh_token"])

    def is_valid(self, access: str) -> bool:
        """Tell whether a request with this token reaches the backend."""
        answer = self.public.get("/resource", access)
        assert answer.status_code in {200, 401}, answer.text
        assert ("target" in answer.json()) == (answer.status_code == 200)
        return answer.status_code == 200


@cache
def parties_at(gateway: RunningGateway) -> Parties:
    """Return who takes part at a gateway, with the user demo signed in."""
    return Parties(gateway.url, signed_in_browser(gateway.url))


def signed_in_browser(url: str, name: str = "demo") -> Browser:
    """Sign a user in."""
    browser = Browser(url)
    # A connection that is kept open holds up the end of its server.
    browser.session.headers["Connection"] = "close"
    assert browser.sign_in(name).status_code == 303
    return browser
