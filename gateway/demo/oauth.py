"""The sample client's side of OAuth: its requests, and how a page shows them.

This module works with every server that follows RFC 6749, 6750, 7009, 7636 and 9207.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

_TIMEOUT_SECONDS = 10.0

#: A page shows only the two ends of these values.
_SECRET = frozenset({"access_token", "refresh_token", "code", "code_verifier", "token"})


class Unreachable(Exception):  # noqa: N818 - says what is wrong
    """The authorization server did not answer."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request of the client and its response, both as a page may show them."""

    request: str
    status: int
    response: str
    members: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PendingAuthorization:
    """What the client keeps of an authorization request until the response comes.

    ``state`` ties the response to the browser that asked (RFC 6749 §10.12), ``verifier`` ties the
    code to this client (RFC 7636 §4.1).
    """

    state: str
    verifier: str

    @classmethod
    def new(cls) -> PendingAuthorization:
        """Return a pair that nobody can guess."""
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32))

    @property
    def challenge(self) -> str:
        """RFC 7636 §4.2, the method S256."""
        digest = sha256(self.verifier.encode("ascii")).digest()
        return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """The authorization server, and this client as it is registered there."""

    issuer: str
    client_id: str
    redirect_uri: str
    scope: str

    def authorization_url(self, pending: PendingAuthorization) -> str:
        """Return the URL to send the browser to (RFC 6749 §4.1.1, RFC 7636 §4.3)."""
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "state": pending.state,
            "code_challenge": pending.challenge,
            "code_challenge_method": "S256",
        }
        return f"{self.issuer}/oauth/authorize?{urlencode(query)}"

    def redeem(self, code: str, pending: PendingAuthorization) -> Exchange:
        """Exchange a code for tokens (RFC 6749 §4.1.3). Raises Unreachable."""
        return self._post(
            "/oauth/token",
            grant_type="authorization_code",
            code=code,
            redirect_uri=self.redirect_uri,
            client_id=self.client_id,
            code_verifier=pending.verifier,
        )

    def refresh(self, refresh_token: str) -> Exchange:
        """Exchange a refresh token for the next pair (RFC 6749 §6). Raises Unreachable."""
        return self._post(
            "/oauth/token",
            grant_type="refresh_token",
            refresh_token=refresh_token,
            client_id=self.client_id,
        )

    def revoke(self, token: str) -> Exchange:
        """Revoke a token, and with a refresh token its access tokens (RFC 7009 §2.1)."""
        return self._post("/oauth/revoke", token=token, client_id=self.client_id)

    def call(self, path: str, access_token: str) -> Exchange:
        """Get a resource (RFC 6750 §2.1). Raises Unreachable."""
        shown = f"GET {path}\nAuthorization: Bearer {abbreviate(access_token)}"
        headers = {"Authorization": f"Bearer {access_token}"}
        return self._exchange(shown, "GET", path, None, headers)

    def _post(self, path: str, **fields: str) -> Exchange:
        shown = "\n".join(
            (
                f"POST {path}",
                *(
                    f"{name}={abbreviate(value) if name in _SECRET else value}"
                    for name, value in fields.items()
                ),
            )
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._exchange(shown, "POST", path, urlencode(fields), headers)

    def _exchange(
        self, shown: str, method: str, path: str, body: str | None, headers: dict[str, str]
    ) -> Exchange:
        connection = HTTPConnection(urlsplit(self.issuer).netloc, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            received = response.read()
        except (OSError, HTTPException) as error:
            raise Unreachable(f"{self.issuer} does not answer") from error
        finally:
            connection.close()
        members = _json_object(received)
        challenge = response.getheader("WWW-Authenticate")
        text = json.dumps(_abbreviate_secrets(members), indent=2, ensure_ascii=False)
        return Exchange(
            shown,
            response.status,
            f"WWW-Authenticate: {challenge}\n{text}" if challenge else text,
            members,
        )


def abbreviate(secret: str) -> str:
    """Return the two ends of a code or token, enough to tell it from another one."""
    return f"{secret[:6]}…{secret[-4:]}"


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _abbreviate_secrets(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: abbreviate(value) if name in _SECRET and isinstance(value, str) else value
        for name, value in members.items()
    }
