"""requests-oauthlib, a client that nobody here wrote, as its documentation says to use it."""

from __future__ import annotations

from time import time
from typing import Any

import pytest
import requests
from oauthlib.oauth2 import (
    AccessDeniedError,
    BackendApplicationClient,
    InvalidClientError,
    InvalidGrantError,
    WebApplicationClient,
)
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session as RequestsSession

from tests.support.oauth_client import REDIRECT_URI, headers_of
from tests.support.running_gateway import SERVICE_SECRET, RunningGateway
from tests.world.clients.authorizing import answered
from tests.world.clients.registrations import (
    BASIC,
    TIMEOUT,
    WEB_URI,
    Paths,
    Registration,
    registrations,
)


@pytest.fixture(autouse=True)
def _plain_http_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


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
