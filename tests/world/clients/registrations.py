"""How the clients are registered, and at which paths they find the gateway."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

import pytest

from tests.support.oauth_client import FRAPPE, REDIRECT_URI

SECRET = "zc6yN1x_oXn4rC9H-8sQe2l5TtUvWbAaKk0JdPpGmRE"
WEB_URI = "https://web.example/callback"
TIMEOUT = 20

# A consent that is never remembered: every test goes past Allow.
EXTRA = f"""
[provider]
consent = "always"

[[clients]]
client_id = "web"
name = "A Web Application"
redirect_uris = ["{WEB_URI}"]
scopes = ["project"]
secret_sha256 = "{sha256(SECRET.encode()).hexdigest()}"
"""


@dataclass(frozen=True)
class Registration:
    """A client as it is registered, and how it proves who it is."""

    client_id: str
    redirect_uri: str
    authentication: str
    secret: str | None = None


PUBLIC = Registration("my-app", REDIRECT_URI, "none")
PUBLIC_WITH_PKCE = Registration("pkce-app", "https://app.example/cb", "none")
BASIC = Registration("web", WEB_URI, "client_secret_basic", SECRET)
POST = Registration("web", WEB_URI, "client_secret_post", SECRET)

registrations = pytest.mark.parametrize(
    ("registered", "pkce"),
    [
        pytest.param(PUBLIC, False, id="public"),
        pytest.param(PUBLIC_WITH_PKCE, True, id="public-pkce"),
        pytest.param(BASIC, False, id="basic"),
        pytest.param(BASIC, True, id="basic-pkce"),
        pytest.param(POST, False, id="post"),
        pytest.param(POST, True, id="post-pkce"),
    ],
)


@dataclass(frozen=True)
class Paths:
    authorize: str
    token: str
    revoke: str


STANDARD = Paths("/oauth/authorize", "/oauth/token", "/oauth/revoke")
OF_FRAPPE = Paths(FRAPPE + "authorize", FRAPPE + "get_token", FRAPPE + "revoke_token")
