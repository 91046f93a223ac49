"""oauthlib runs the gateway's own endpoints, and no line of it runs for a forwarded request."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from types import FrameType
from typing import Any

import oauthlib
import pytest
from werkzeug.test import Client, TestResponse

from gateway import OAuthGateway, load_config
from gateway.store.redis_client import StoreUnavailable
from gateway.token_store import TokenStore
from tests.support.echo import echo_app
from tests.support.oauth_client import AUTHORIZE, INTROSPECT, REVOKE, TOKEN, authorization
from tests.support.running_gateway import PASSWORD, SERVICE_SECRET, write_settings

_FILES = str(Path(oauthlib.__file__).parent)
SERVICE = {"auth": ("service", SERVICE_SECRET)}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a gateway in this process."""
    config = write_settings(tmp_path_factory.mktemp("gateway"), port=8000)
    gateway = OAuthGateway(echo_app, load_config(str(config)))

    def in_a_context_of_its_own(*arguments: Any) -> Any:
        # A request's time is counted in its context. This thread is to go on without a limit.
        return copy_context().run(gateway, *arguments)

    yield Client(in_a_context_of_its_own)
    gateway.close()


def issued(client: Client) -> TestResponse:
    """Get a client's own token."""
    return client.post(TOKEN, data={"grant_type": "client_credentials"}, **SERVICE)


def run_by(send: Callable[[], TestResponse], status: int) -> set[str]:
    """Return the functions of oauthlib that run while a request is answered."""
    functions = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(_FILES):
            functions.add(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        response = send()
    finally:
        sys.setprofile(None)
    assert response.status_code == status
    return functions


def test_an_authorization_request_passes_through_oauthlib(client: Client) -> None:
    functions = run_by(lambda: client.get(AUTHORIZE, query_string=authorization()), 302)
    assert "AuthorizationEndpoint.validate_authorization_request" in functions
    assert "AuthorizationCodeGrant.validate_authorization_request" in functions


def test_a_code_is_given_by_oauthlib(client: Client) -> None:
    page = client.get("/oauth/sign-in").text
    csrf_token = re.findall(r'name="csrf_token" value="([^"]+)"', page)[-1]
    user = {"username": "demo", "password": PASSWORD}
    assert client.post("/oauth/sign-in", data={**user, "csrf_token": csrf_token}).status_code == 303
    own = authorization(client_id="own-app", redirect_uri="https://own.example/cb")
    functions = run_by(lambda: client.get(AUTHORIZE, query_string=own), 302)
    assert "AuthorizationEndpoint.create_authorization_response" in functions
    assert "AuthorizationCodeGrant.create_authorization_response" in functions


@pytest.mark.parametrize(
    ("form", "status", "grant"),
    [
        ({"grant_type": "authorization_code", "code": "x"}, 400, "AuthorizationCodeGrant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 400, "RefreshTokenGrant"),
        ({"grant_type": "client_credentials"}, 200, "ClientCredentialsGrant"),
        ({"grant_type": "password"}, 400, "ClientCredentialsGrant"),
    ],
)
def test_a_token_request_passes_through_oauthlib(
    client: Client, form: dict[str, str], status: int, grant: str
) -> None:
    functions = run_by(lambda: client.post(TOKEN, data=form, **SERVICE), status)
    assert "TokenEndpoint.create_token_response" in functions
    assert f"{grant}.create_token_response" in functions
    assert f"{grant}.validate_token_request" in functions


def test_a_revocation_passes_through_oauthlib(client: Client) -> None:
    functions = run_by(lambda: client.post(REVOKE, data={"token": "x"}), 200)
    assert "RevocationEndpoint.create_revocation_response" in functions


def test_an_introspection_passes_through_oauthlib(client: Client) -> None:
    functions = run_by(lambda: client.post(INTROSPECT, data={"token": "x"}, **SERVICE), 200)
    assert "IntrospectEndpoint.create_introspect_response" in functions


@pytest.mark.parametrize("status", [200, 401])
def test_no_line_of_oauthlib_runs_for_a_forwarded_request(client: Client, status: int) -> None:
    token = issued(client).get_json()["access_token"] if status == 200 else "x"
    headers = {"Authorization": f"Bearer {token}"}
    assert run_by(lambda: client.get("/resource", headers=headers), status) == set()
    assert run_by(lambda: client.get("/public/x"), 200) == set()


def test_a_store_that_does_not_answer_is_no_error_of_the_protocol(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``catch_errors``, oauthlib would answer for it with ``server_error``."""
    token = issued(client).get_json()["access_token"]

    def silent(*arguments: object, **named: object) -> None:
        raise StoreUnavailable("timeout")

    for method in ("issue_access", "revoke", "access_token"):
        monkeypatch.setattr(TokenStore, method, silent)
    for response in (
        issued(client),
        client.post(REVOKE, data={"token": token}),
        client.post(INTROSPECT, data={"token": token}, **SERVICE),
    ):
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        assert response.get_json()["error"] == "temporarily_unavailable"
