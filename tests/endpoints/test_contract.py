"""The documented HTTP contract, row by row, at both sets of paths."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests

from tests.support.oauth_client import (
    FRAPPE,
    REDIRECT_URI,
    Browser,
    Client,
    answer_of,
    authorization,
    form_of,
    headers_of,
    pkce,
)
from tests.support.running_gateway import RunningGateway

PATHS = [
    pytest.param("/oauth/authorize", "/oauth/token", "/oauth/revoke", id="standard"),
    pytest.param(FRAPPE + "authorize", FRAPPE + "get_token", FRAPPE + "revoke_token", id="frappe"),
]


@pytest.fixture(scope="module", params=["wrapped", "standalone", "created"])
def gateway(request: pytest.FixtureRequest, _gateways: Any) -> RunningGateway:
    """A gateway in each way of running it, a WSGI server of the operator's choice included."""
    started: RunningGateway = _gateways(request.param)
    return started


MEMBERS = {"access_token", "token_type", "expires_in", "refresh_token", "scope"}


@pytest.mark.parametrize(("authorize", "token", "revoke"), PATHS)
def test_the_documented_flow_from_authorize_to_revoke(
    gateway: RunningGateway, browser: Browser, authorize: str, token: str, revoke: str
) -> None:
    client = Client(gateway.url)

    to_sign_in = browser.authorize(authorize, **authorization(state="xyz"))
    assert to_sign_in.status_code == 302
    page = browser.get(to_sign_in.headers["Location"])
    form = form_of(page)
    assert {"username", "password"} <= form.fields.keys()
    back = browser.post(
        form.action, {**form.fields, "username": "demo", "password": "correct horse"}
    )
    assert back.status_code == 303
    confirmation = browser.get(back.headers["Location"])
    if confirmation.status_code == 200:
        assert sorted(form_of(confirmation).buttons) == [
            ("decision", "allow"),
            ("decision", "deny"),
        ]
        confirmation = browser.decide(confirmation)
    assert confirmation.headers["Location"].startswith(f"{REDIRECT_URI}?code=")
    answer = answer_of(confirmation)
    assert answer["state"] == "xyz"

    issued = client.post(
        token,
        {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": REDIRECT_URI,
            "client_id": "my-app",
        },
    )
    assert issued.status_code == 200
    first = issued.json()
    assert first.keys() == MEMBERS
    assert (first["token_type"], first["expires_in"], first["scope"]) == ("Bearer", 3600, "project")

    assert client.get("/resource", first["access_token"]).json()["target"] == "/resource"

    refreshed = client.post(
        token,
        {
            "grant_type": "refresh_token",
            "refresh_token": first["refresh_token"],
            "redirect_uri": REDIRECT_URI,
            "client_id": "my-app",
        },
    )
    assert refreshed.status_code == 200
    second = refreshed.json()
    assert second.keys() == MEMBERS
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]

    revoked = client.post(revoke, {"token": second["access_token"]})
    assert (revoked.status_code, revoked.json()) == (200, {"message": "success"})
    assert client.get("/resource", second["access_token"]).status_code == 401


def test_deny_redirects_with_access_denied_and_state(signed_in: Browser) -> None:
    page = signed_in.authorize(
        **authorization(client_id="two-uris", redirect_uri="com.example.two:/cb", state="s t")
    )
    denied = signed_in.decide(page, "deny")
    assert denied.status_code == 303
    answer = answer_of(denied)
    assert (answer["error"], answer["state"]) == ("access_denied", "s t")
    assert "code" not in answer


def test_without_a_state_none_comes_back(signed_in: Browser) -> None:
    page = signed_in.authorize(
        **authorization(client_id="native", redirect_uri="http://127.0.0.1:7/cb")
    )
    assert "state" not in answer_of(signed_in.decide(page, "deny"))


def test_pkce_with_s256(signed_in: Browser, gateway: RunningGateway) -> None:
    verifier, challenge = pkce()
    app = Client(gateway.url, "pkce-app", redirect_uri="https://app.example/cb")
    code = signed_in.code(client_id="pkce-app", redirect_uri=app.redirect_uri, **challenge)
    assert app.redeem(code, code_verifier=verifier).status_code == 200


@pytest.mark.parametrize(
    "data", [{}, {"token": ""}, {"tok": "x"}], ids=["nothing", "empty", "other"]
)
def test_a_bad_revocation_is_answered_as_each_path_promises(
    client: Client, data: dict[str, str]
) -> None:
    frappe = client.post(FRAPPE + "revoke_token", data)
    assert (frappe.status_code, frappe.json()) == (400, {"message": "bad request"})
    standard = client.post("/oauth/revoke", data)
    assert standard.status_code == 400
    assert standard.json()["error"] == "invalid_request"


def test_the_backend_is_told_who_asks(
    signed_in: Browser, client: Client, gateway: RunningGateway
) -> None:
    token = client.redeem(signed_in.code(scope="project profile")).json()["access_token"]
    echoed = client.get("/who?x=1", token).json()
    assert headers_of(echoed, "X-Forwarded-User") == ["demo"]
    assert headers_of(echoed, "X-Forwarded-Client") == ["my-app"]
    assert headers_of(echoed, "X-Forwarded-Scope") == ["project profile"]
    assert echoed["target"] == "/who?x=1"
    if gateway.mode == "wrapped":
        assert echoed["remote_user"] == "demo"
        assert "AccessToken" in echoed["token"]


def test_a_name_outside_ascii_arrives_as_utf_8(browser: Browser, client: Client) -> None:
    assert browser.sign_in("zoë").status_code == 303
    token = client.redeem(browser.code()).json()["access_token"]
    (user,) = headers_of(client.get("/", token).json(), "X-Forwarded-User")
    assert user.encode("latin-1").decode() == "zoë"


def test_a_public_route_needs_no_token(gateway: RunningGateway) -> None:
    assert requests.get(f"{gateway.url}/public/page", timeout=5).status_code == 200


def test_no_credentials_are_challenged_without_an_error(gateway: RunningGateway) -> None:
    """RFC 6750 §3.1."""
    refused = requests.get(f"{gateway.url}/private", timeout=5)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer realm=")
    assert "error" not in refused.headers["WWW-Authenticate"]


def test_an_unknown_token_is_challenged_with_invalid_token(client: Client) -> None:
    refused = client.get("/private", "unknown")
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


def test_a_missing_scope_is_named(signed_in: Browser, client: Client) -> None:
    token = client.redeem(signed_in.code()).json()["access_token"]
    refused = client.get("/admin/users", token)
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["WWW-Authenticate"]
    assert 'scope="admin"' in refused.headers["WWW-Authenticate"]


def test_every_scope_of_a_route_is_needed(signed_in: Browser, client: Client) -> None:
    token = client.redeem(signed_in.code()).json()["access_token"]
    assert client.get("/projects/7", token).status_code == 200
    refused = requests.post(
        f"{client.gateway}/projects/7", headers={"Authorization": f"Bearer {token}"}, timeout=5
    )
    assert refused.status_code == 403


def test_consent_is_remembered_for_the_same_scopes_and_asked_for_more(
    signed_in: Browser, gateway: RunningGateway
) -> None:
    asked = authorization(client_id="confidential", redirect_uri="https://confidential.example/cb")
    first = signed_in.authorize(**asked)
    if first.status_code == 200:
        signed_in.decide(first)
    assert "code" in answer_of(signed_in.authorize(**asked))
    assert signed_in.authorize(**{**asked, "scope": "project admin"}).status_code == 200


def test_a_client_of_the_operators_own_is_not_asked_about(signed_in: Browser) -> None:
    answer = signed_in.authorize(
        **authorization(client_id="own-app", redirect_uri="https://own.example/cb")
    )
    assert "code" in answer_of(answer)


def test_client_credentials(service: Client) -> None:
    """RFC 6749 §4.4: no refresh token, and nobody's name for the backend."""
    issued = service.post("/oauth/token", {"grant_type": "client_credentials", "scope": "admin"})
    assert issued.status_code == 200
    assert issued.json().keys() == MEMBERS - {"refresh_token"}
    echoed = service.get("/admin/x", issued.json()["access_token"]).json()
    assert headers_of(echoed, "X-Forwarded-Client") == ["service"]
    assert headers_of(echoed, "X-Forwarded-User") == []


def test_metadata_comes_from_the_issuer(gateway: RunningGateway) -> None:
    """RFC 8414 §2."""
    document = requests.get(
        f"{gateway.url}/.well-known/oauth-authorization-server",
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
        timeout=5,
    ).json()
    assert document["issuer"] == gateway.url
    assert document["token_endpoint"] == f"{gateway.url}/oauth/token"
    assert document["code_challenge_methods_supported"] == ["S256"]


def test_the_answer_names_its_issuer(signed_in: Browser, gateway: RunningGateway) -> None:
    """RFC 9207 §2."""
    page = signed_in.authorize(
        **authorization(client_id="native", redirect_uri="http://127.0.0.1:1/cb")
    )
    denied = signed_in.decide(page, "deny")
    assert dict(parse_qsl(urlsplit(denied.headers["Location"]).query))["iss"] == gateway.url
