"""Authlib, a client library that nobody here wrote, as its documentation says to use it.

Its OAuth2Session completes the whole flow; its Flask integration is a web application that is
given nothing but the address of the metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from flask import Flask

from tests.support.oauth_client import headers_of
from tests.support.running_gateway import SERVICE_SECRET, RunningGateway
from tests.world.clients.authorizing import answered
from tests.world.clients.registrations import (
    BASIC,
    PUBLIC,
    TIMEOUT,
    WEB_URI,
    Paths,
    Registration,
    registrations,
)

# --- Authlib


def authlib_session(registered: Registration, **options: Any) -> Any:
    return AuthlibSession(
        registered.client_id,
        registered.secret,
        scope="project",
        redirect_uri=registered.redirect_uri,
        default_timeout=TIMEOUT,
        **options,
    )


@registrations
def test_authlib_goes_from_authorize_to_revoke(
    gateway: RunningGateway, registered: Registration, paths: Paths, pkce: bool
) -> None:
    session = authlib_session(
        registered,
        token_endpoint_auth_method=registered.authentication,
        revocation_endpoint_auth_method=registered.authentication,
        code_challenge_method="S256" if pkce else None,
    )
    verifier = generate_token(48) if pkce else None
    url, state = session.create_authorization_url(
        gateway.url + paths.authorize, code_verifier=verifier
    )
    assert ("code_challenge=" in url) == pkce

    first = session.fetch_token(
        gateway.url + paths.token,
        authorization_response=answered(gateway, url),
        state=state,
        code_verifier=verifier,
    )
    assert (first["token_type"], first["scope"]) == ("Bearer", "project")
    echoed = session.get(f"{gateway.url}/resource").json()
    assert headers_of(echoed, "X-Forwarded-User") == ["demo"]
    assert headers_of(echoed, "X-Forwarded-Client") == [registered.client_id]

    second = session.refresh_token(gateway.url + paths.token)
    assert second["access_token"] != first["access_token"]
    assert session.get(f"{gateway.url}/resource").status_code == 200

    revoked = session.revoke_token(
        gateway.url + paths.revoke, second["access_token"], token_type_hint="access_token"
    )
    assert (revoked.status_code, revoked.json()) == (200, {"message": "success"})
    assert session.get(f"{gateway.url}/resource").status_code == 401


def test_authlib_refreshes_by_itself(gateway: RunningGateway, paths: Paths) -> None:
    stored: list[dict[str, Any]] = []
    session = authlib_session(
        BASIC,
        token_endpoint=gateway.url + paths.token,
        update_token=lambda token, **_: stored.append(token),
    )
    url, state = session.create_authorization_url(gateway.url + paths.authorize)
    token = session.fetch_token(authorization_response=answered(gateway, url), state=state)

    session.token = {**token, "expires_at": int(time()) - 1}
    assert session.get(f"{gateway.url}/resource").status_code == 200
    (renewed,) = stored
    assert renewed["access_token"] != token["access_token"]
    assert renewed["refresh_token"] != token["refresh_token"]


def test_authlib_understands_what_it_is_refused(gateway: RunningGateway) -> None:
    session = authlib_session(PUBLIC)
    url, state = session.create_authorization_url(f"{gateway.url}/oauth/authorize")
    callback = answered(gateway, url)
    token_url = f"{gateway.url}/oauth/token"
    session.fetch_token(token_url, authorization_response=callback, state=state)

    with pytest.raises(OAuthError) as replayed:
        session.fetch_token(token_url, authorization_response=callback, state=state)
    assert replayed.value.error == "invalid_grant"

    with pytest.raises(OAuthError) as unknown:
        authlib_session(
            Registration("web", WEB_URI, "client_secret_basic", "not the secret")
        ).fetch_token(token_url, code="gwc_nothing", grant_type="authorization_code")
    assert unknown.value.error == "invalid_client"


def test_authlib_acts_for_itself_and_introspects(gateway: RunningGateway) -> None:
    session = AuthlibSession("service", SERVICE_SECRET, scope="admin", default_timeout=TIMEOUT)
    token = session.fetch_token(f"{gateway.url}/oauth/token", grant_type="client_credentials")
    assert session.get(f"{gateway.url}/admin/x").status_code == 200
    told = session.introspect_token(f"{gateway.url}/oauth/introspect", token["access_token"])
    assert {"active": True, "client_id": "service", "scope": "admin"}.items() <= told.json().items()


# --- Authlib in a Flask application


@dataclass
class WebApplication:
    """A Flask application with Authlib's documented routes, and one of its users."""

    gateway: RunningGateway
    registered: Registration

    def __post_init__(self) -> None:
        app = Flask("client of the gateway")
        app.secret_key = "for this application's own session"
        remote = OAuth(app).register(
            "gateway",
            server_metadata_url=f"{self.gateway.url}/.well-known/oauth-authorization-server",
            client_id=self.registered.client_id,
            client_secret=self.registered.secret,
            api_base_url=self.gateway.url,
            client_kwargs={"scope": "project", "code_challenge_method": "S256"},
        )

        @app.route("/login")
        def login() -> Any:
            return remote.authorize_redirect(self.registered.redirect_uri)

        @app.route("/callback")
        def callback() -> Any:
            token = remote.authorize_access_token()
            return remote.get("/resource", token=token).json()

        @app.errorhandler(OAuthError)
        def failed(error: Any) -> Any:
            return {"error": error.error}, 403

        self.user = app.test_client()

    def come_back(self, decision: str) -> Any:
        """Log in through the gateway; return what the application then says."""
        url = self.user.get("/login").headers["Location"]
        assert url.startswith(f"{self.gateway.url}/oauth/authorize?")
        returned = urlsplit(answered(self.gateway, url, decision))
        return self.user.get(f"{returned.path}?{returned.query}")


def test_a_flask_application_needs_only_the_metadata(gateway: RunningGateway) -> None:
    echoed = WebApplication(gateway, BASIC).come_back("allow").get_json()
    assert headers_of(echoed, "X-Forwarded-User") == ["demo"]


def test_a_flask_application_is_told_of_a_refusal(gateway: RunningGateway) -> None:
    denied = WebApplication(gateway, BASIC).come_back("deny")
    assert (denied.status_code, denied.get_json()) == (403, {"error": "access_denied"})
