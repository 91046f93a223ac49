"""The requests of the documented Frappe client, ready to paste into a shell."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import click

from gateway.demo.addresses import Addresses
from gateway.demo.files import AUDIT_LOG, CONFIGURATION

CLIENT_ID = "my-app"

_METHOD = "/api/method/frappe.integrations.oauth2"
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Walkthrough:
    """The way from no token to a revoked one; each property is one step."""

    addresses: Addresses

    @property
    def authorize_url(self) -> str:
        """The URL to open in a browser, with the parameters that Frappe documents."""
        query = {
            "client_id": CLIENT_ID,
            "scope": "project",
            "response_type": "code",
            "redirect_uri": self.addresses.redirect_uri,
        }
        return f"{self.addresses.issuer}{_METHOD}.authorize?{urlencode(query)}"

    @property
    def exchange(self) -> str:
        """Exchange the code ``$CODE`` for tokens."""
        return self._post(
            "get_token",
            "grant_type=authorization_code",
            'code="$CODE"',
            f"redirect_uri={self.addresses.redirect_uri}",
            f"client_id={CLIENT_ID}",
        )

    @property
    def resource(self) -> str:
        """Call the backend through the gateway with ``$ACCESS_TOKEN``."""
        return (
            f'curl -H "Authorization: Bearer $ACCESS_TOKEN" '
            f"{self.addresses.issuer}/api/resource/Project"
        )

    @property
    def refresh(self) -> str:
        """Exchange ``$REFRESH_TOKEN`` for the next pair of tokens."""
        return self._post(
            "get_token",
            "grant_type=refresh_token",
            'refresh_token="$REFRESH_TOKEN"',
            f"redirect_uri={self.addresses.redirect_uri}",
            f"client_id={CLIENT_ID}",
        )

    @property
    def revoke(self) -> str:
        """Revoke ``$ACCESS_TOKEN``."""
        return self._post("revoke_token", 'token="$ACCESS_TOKEN"')

    @property
    def introspect(self) -> str:
        """Ask, as another service, what ``$ACCESS_TOKEN`` permits."""
        return (
            'curl -u my-service:demo-secret -d token="$ACCESS_TOKEN" '
            f"{self.addresses.issuer}/oauth/introspect"
        )

    @property
    def spoof(self) -> str:
        """Send a forged user name to a public page of the backend; it does not get there."""
        return f'curl -H "X-Forwarded-User: admin" {self.addresses.issuer}/public/headers'

    def _post(self, method: str, *fields: str) -> str:
        url = f"{self.addresses.issuer}{_METHOD}.{method}"
        return " \\\n  ".join((f"curl {url}", *(f"-d {field}" for field in fields)))

    def text(self, folder: str) -> str:
        """Return the text that the demo prints; its files are in ``folder``."""
        addresses = self.addresses
        parts = (
            _heading(f"The gateway runs at {addresses.issuer}. Ctrl-C ends it."),
            "",
            "Open the sample client, and sign in as demo with the password demo:",
            "",
            _block(addresses.client),
            "",
            _heading("By hand, as the documented Frappe client does it"),
            "",
            "1. Open this, sign in, press Allow. The next page shows step 2 with your code.",
            "",
            _block(self.authorize_url),
            "",
            "2. Exchange the code. Set ACCESS_TOKEN and REFRESH_TOKEN from the response.",
            "",
            _block(self.exchange),
            "",
            "3. Call the backend.",
            "",
            _block(self.resource),
            "",
            "4. Refresh. Set both variables again.",
            "",
            _block(self.refresh),
            "",
            "5. Revoke. From now on, step 3 gets a 401.",
            "",
            _block(self.revoke),
            "",
            _heading("More"),
            "",
            "Another service of yours can ask what a token permits:",
            "",
            _block(self.introspect),
            "",
            "Somebody claims to be admin, and the backend does not see the claim:",
            "",
            _block(self.spoof),
            "",
            f"Allowed applications   {addresses.issuer}/oauth/applications",
            f"Configuration          {folder}/{CONFIGURATION}",
            f"Audit log              {folder}/{AUDIT_LOG}",
            "",
        )
        return "\n".join(parts)


def _heading(text: str) -> str:
    return click.style(text, bold=True)


def _block(text: str) -> str:
    return "\n".join(_INDENT + line for line in text.splitlines())
