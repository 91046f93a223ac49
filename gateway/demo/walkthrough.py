"""The requests of the documented Frappe client, to be copied into a shell as they stand."""

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
    """The way from nothing to a revoked token; each property is one step."""

    addresses: Addresses

    @property
    def authorize_url(self) -> str:
        """What to open in a browser: the client, scope and redirect URI in Frappe's form."""
        query = {
            "client_id": CLIENT_ID,
            "scope": "project",
            "response_type": "code",
            "redirect_uri": self.addresses.redirect_uri,
        }
        return f"{self.addresses.issuer}{_METHOD}.authorize?{urlencode(query)}"

    @property
    def exchange(self) -> str:
        """Codes for tokens; reads ``$CODE``."""
        return self._post(
            "get_token",
            "grant_type=authorization_code",
            'code="$CODE"',
            f"redirect_uri={self.addresses.redirect_uri}",
            f"client_id={CLIENT_ID}",
        )

    @property
    def resource(self) -> str:
        """The backend, through the gateway; reads ``$ACCESS_TOKEN``."""
        return (
            f'curl -H "Authorization: Bearer $ACCESS_TOKEN" '
            f"{self.addresses.issuer}/api/resource/Project"
        )

    @property
    def refresh(self) -> str:
        """The next pair of tokens; reads ``$REFRESH_TOKEN``."""
        return self._post(
            "get_token",
            "grant_type=refresh_token",
            'refresh_token="$REFRESH_TOKEN"',
            f"redirect_uri={self.addresses.redirect_uri}",
            f"client_id={CLIENT_ID}",
        )

    @property
    def revoke(self) -> str:
        """The end of a token; reads ``$ACCESS_TOKEN``."""
        return self._post("revoke_token", 'token="$ACCESS_TOKEN"')

    @property
    def introspect(self) -> str:
        """What a token is good for, asked by another service; reads ``$ACCESS_TOKEN``."""
        return (
            'curl -u my-service:demo-secret -d token="$ACCESS_TOKEN" '
            f"{self.addresses.issuer}/oauth/introspect"
        )

    @property
    def spoof(self) -> str:
        """A public page of the backend, and an identity that does not reach it."""
        return f'curl -H "X-Forwarded-User: admin" {self.addresses.issuer}/public/headers'

    def _post(self, method: str, *fields: str) -> str:
        url = f"{self.addresses.issuer}{_METHOD}.{method}"
        return " \\\n  ".join((f"curl {url}", *(f"-d {field}" for field in fields)))

    def text(self, folder: str) -> str:
        """Return what the demo prints; ``folder`` is where its files are."""
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
            "1. Open this, sign in, press Allow. What follows shows step 2 with your code.",
            "",
            _block(self.authorize_url),
            "",
            "2. Exchange the code. Set ACCESS_TOKEN and REFRESH_TOKEN to what is answered.",
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
            "5. Revoke. From then on, step 3 answers 401.",
            "",
            _block(self.revoke),
            "",
            _heading("More"),
            "",
            "What another service of yours can ask about a token:",
            "",
            _block(self.introspect),
            "",
            "What the backend is told when somebody claims to be admin:",
            "",
            _block(self.spoof),
            "",
            f"What you have allowed  {addresses.issuer}/oauth/applications",
            f"Configuration          {folder}/{CONFIGURATION}",
            f"Audit log              {folder}/{AUDIT_LOG}",
            "",
        )
        return "\n".join(parts)


def _heading(text: str) -> str:
    return click.style(text, bold=True)


def _block(text: str) -> str:
    return "\n".join(_INDENT + line for line in text.splitlines())
