"""OAuth clients that nobody here wrote, as their documentation says to use them.

Authlib's and requests-oauthlib's OAuth2Session complete the whole flow; Authlib's Flask
integration is a web application that is given nothing but the address of the metadata.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from time import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.flask_client import OAuth
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from flask import Flask
from oauthlib.oauth2 import (
    AccessDeniedError,
    BackendApplicationClient,
    InvalidClientError,
    InvalidGrantError,
    WebApplicationClient,
)
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session as RequestsSession

from tests.support.oauth_client import FRAPPE, REDIRECT_URI, Browser, headers_of
from tests.support.running_gateway import SERVICE_SECRET, RunningGateway, running_gateway

SECRET = "zc6yN1x_oXn4rC9H-8sQe2l5TtUvWbAaKk0JdPpGmRE"
WEB_URI = "https://web.example/callback"
TIMEOUT = 20

# A consent that is never remembered: every test goes past Allow.
_EXTRA = f"""
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


@pytest.fixture(
    scope="module",
    params=[("wrapped", OF_FRAPPE), ("standalone", STANDARD)],
    ids=["wrapped-frappe", "standalone-standard"],
)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningGateway, Paths]]:
    """Each way of running a gateway, with one of the two sets of paths.

    It asks for a confirmation every time. (test_contract.py has all four combinations.)
    """
    mode, paths = request.param
    with running_gateway(mode, tmp_path_factory.mktemp(mode), extra=_EXTRA) as started:
        yield started, paths


@pytest.fixture
def gateway(place: tuple[RunningGateway, Paths]) -> RunningGateway:
    return place[0]


@pytest.fixture
def paths(place: tuple[RunningGateway, Paths]) -> Paths:
    return place[1]


@pytest.fixture(autouse=True)
def _plain_http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


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


# --- requests-oauthlib


def proof(registered: Registration) -> dict[str, Any]:
    """Return how requests-oauthlib is told to authenticate when it exchanges a code."""
    if registered.authentication == "client_secret_basic":
        return {"auth": HTTPBasicAuth(registered.client_id, registered.secret or "")}
    return {"include_client_id": True, "client_secret": registered.secret}


def refresh_proof(registered: Registration) -> dict[str, Any]:
    """Return how it is told to authenticate when it refreshes, where its body is its user's."""
    if registered.authentication == "client_secret_basic":
        return {"auth": HTTPBasicAuth(registered.client_id, registered.secret or "")}
    secret = {} if registered.secret is None else {"client_secret": registered.secret}
    return {"client_id": registered.client_id, **secret}


@registrations
def test_requests_oauthlib_goes_from_authorize_to_revoke(
    gateway: RunningGateway, registered: Registration, paths: Paths, pkce: bool
) -> None:
    client = WebApplicationClient(registered.client_id)
    session = RequestsSession(
        client=client,
        redirect_uri=registered.redirect_uri,
        scope=["project"],
        pkce="S256" if pkce else None,
    )
    url, _ = session.authorization_url(gateway.url + paths.authorize)
    assert ("code_challenge=" in url) == pkce

    first = session.fetch_token(
        gateway.url + paths.token,
        authorization_response=answered(gateway, url),
        timeout=TIMEOUT,
        **proof(registered),
    )
    assert (first["token_type"], first["scope"]) == ("Bearer", ["project"])
    echoed = session.get(f"{gateway.url}/resource", timeout=TIMEOUT).json()
    assert headers_of(echoed, "X-Forwarded-User") == ["demo"]
    assert headers_of(echoed, "X-Forwarded-Client") == [registered.client_id]

    second = session.refresh_token(
        gateway.url + paths.token, timeout=TIMEOUT, **refresh_proof(registered)
    )
    assert second["access_token"] != first["access_token"]
    assert session.get(f"{gateway.url}/resource", timeout=TIMEOUT).status_code == 200

    # The session has no revocation of its own; the client that it carries prepares one.
    revoke_url, headers, body = client.prepare_token_revocation_request(
        gateway.url + paths.revoke, second["access_token"]
    )
    revoked = requests.post(
        revoke_url,
        body,
        headers=headers,
        auth=None if registered.secret is None else (registered.client_id, registered.secret),
        timeout=TIMEOUT,
    )
    assert (revoked.status_code, revoked.json()) == (200, {"message": "success"})
    assert session.get(f"{gateway.url}/resource", timeout=TIMEOUT).status_code == 401


def test_requests_oauthlib_as_it_is_without_a_secret(gateway: RunningGateway) -> None:
    """It then sends Basic with an empty password: no secret (RFC 6749 §2.3.1)."""
    session = RequestsSession("my-app", redirect_uri=REDIRECT_URI, scope=["project"])
    url, _ = session.authorization_url(f"{gateway.url}/oauth/authorize")
    session.fetch_token(
        f"{gateway.url}/oauth/token",
        authorization_response=answered(gateway, url),
        timeout=TIMEOUT,
    )
    assert session.get(f"{gateway.url}/resource", timeout=TIMEOUT).status_code == 200


def test_requests_oauthlib_refreshes_by_itself(gateway: RunningGateway, paths: Paths) -> None:
    stored: list[dict[str, Any]] = []
    session = RequestsSession(
        "my-app",
        redirect_uri=REDIRECT_URI,
        scope=["project"],
        auto_refresh_url=gateway.url + paths.token,
        auto_refresh_kwargs={"client_id": "my-app", "redirect_uri": REDIRECT_URI},
        token_updater=stored.append,
    )
    url, _ = session.authorization_url(gateway.url + paths.authorize)
    token = session.fetch_token(
        gateway.url + paths.token,
        authorization_response=answered(gateway, url),
        include_client_id=True,
        timeout=TIMEOUT,
    )

    session.token = {**token, "expires_in": -30, "expires_at": time() - 30}
    assert session.get(f"{gateway.url}/resource", timeout=TIMEOUT).status_code == 200
    (renewed,) = stored
    assert renewed["access_token"] != token["access_token"]
    assert renewed["refresh_token"] != token["refresh_token"]


def test_requests_oauthlib_is_told_of_a_refusal(gateway: RunningGateway) -> None:
    session = RequestsSession("my-app", redirect_uri=REDIRECT_URI, scope=["project"])
    url, _ = session.authorization_url(f"{gateway.url}/oauth/authorize")
    callback = answered(gateway, url, "deny")
    with pytest.raises(AccessDeniedError):
        session.fetch_token(f"{gateway.url}/oauth/token", authorization_response=callback)


def test_requests_oauthlib_understands_what_it_is_refused(gateway: RunningGateway) -> None:
    session = RequestsSession("web", redirect_uri=WEB_URI, scope=["project"])
    token_url = f"{gateway.url}/oauth/token"
    with pytest.raises(InvalidGrantError):
        session.fetch_token(token_url, code="gwc_nothing", timeout=TIMEOUT, **proof(BASIC))
    wrong = HTTPBasicAuth("web", "not the secret")
    with pytest.raises(InvalidClientError):
        session.fetch_token(token_url, code="gwc_nothing", timeout=TIMEOUT, auth=wrong)


def test_requests_oauthlib_acts_for_itself(gateway: RunningGateway) -> None:
    client = BackendApplicationClient("service", scope=["admin"])
    session = RequestsSession(client=client)
    session.fetch_token(f"{gateway.url}/oauth/token", client_secret=SERVICE_SECRET, timeout=TIMEOUT)
    assert session.get(f"{gateway.url}/admin/x", timeout=TIMEOUT).status_code == 200
