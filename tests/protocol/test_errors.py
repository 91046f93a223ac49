"""What oauthlib refuses by itself is told in the gateway's words, and noted with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from oauthlib.oauth2.rfc6749.errors import ConsentRequired

from gateway.protocol.errors import OAuthError, with_reasons
from tests.support.oauth_client import AUTHORIZE, TOKEN, Browser, Client, answer_of, authorization
from tests.support.parties import parties_at
from tests.support.running_gateway import RunningGateway

GRANT = (
    "The grant is invalid, expired, revoked, or was issued to another client"
    " or for another redirect_uri."
)


def last_line(gateway: RunningGateway) -> dict[str, Any]:
    """Return what the audit log says of the last request."""
    line: dict[str, Any] = json.loads(gateway.audit.read_text().splitlines()[-1])
    return line


@pytest.mark.parametrize(
    ("form", "error", "description", "why"),
    [
        (
            {"scope": "project"},
            "invalid_request",
            "The parameter grant_type is missing.",
            "missing_grant_type",
        ),
        (
            {"grant_type": "password"},
            "unsupported_grant_type",
            "The grant_type is not supported.",
            "grant_type",
        ),
        (
            {"grant_type": "authorization_code"},
            "invalid_request",
            "The parameter code is missing.",
            "missing_code",
        ),
        (
            {"grant_type": "refresh_token"},
            "invalid_request",
            "The parameter refresh_token is missing.",
            "missing_refresh_token",
        ),
        (
            {"grant_type": "refresh_token", "refresh_token": "x"},
            "unauthorized_client",
            "The application may not use this grant_type.",
            "grant_type",
        ),
        (
            {"grant_type": "client_credentials", "scope": "project profile"},
            "invalid_scope",
            "The requested scope is not allowed.",
            "scope",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refusal_of_oauthlib_at_the_token_endpoint(
    standalone: RunningGateway, form: dict[str, str], error: str, description: str, why: str
) -> None:
    service = parties_at(standalone).service
    told = service.post(TOKEN, form).json()
    assert told == {"error": error, "error_description": description}
    noted = last_line(standalone)
    assert (noted["why"], noted["client_id"]) == (why, "service")


@pytest.mark.parametrize("kind", ["code", "refresh_token"])
def test_a_token_that_nobody_made_is_unknown(standalone: RunningGateway, kind: str) -> None:
    client = Client(standalone.url)
    told = (client.redeem if kind == "code" else client.refresh)("x").json()
    assert told == {"error": "invalid_grant", "error_description": GRANT}
    assert last_line(standalone)["why"] == "unknown"


@pytest.mark.parametrize(
    ("parameters", "error", "description", "why"),
    [
        (
            {"response_type": ""},
            "invalid_request",
            "The parameter response_type is missing.",
            "missing_response_type",
        ),
        (
            {"response_type": "token"},
            "unsupported_response_type",
            "The only response_type is code.",
            "response_type",
        ),
        ({"scope": "admin"}, "invalid_scope", "The requested scope is not allowed.", "scope"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refusal_of_oauthlib_at_the_authorization_endpoint(
    standalone: RunningGateway,
    parameters: dict[str, str],
    error: str,
    description: str,
    why: str,
) -> None:
    browser = Browser(standalone.url)
    assert browser.sign_in().status_code == 303
    told = browser.authorize(**authorization(**parameters))
    told_members = {"error": error, "error_description": description, "iss": standalone.url}
    assert answer_of(told) == told_members
    noted = last_line(standalone)
    assert (noted["why"], noted["client_id"]) == (why, "my-app")


def test_a_request_without_a_client_is_told_to_the_user(standalone: RunningGateway) -> None:
    page = Browser(standalone.url).get(f"{AUTHORIZE}?response_type=code")
    assert page.status_code == 400
    assert "The parameter client_id is missing." in page.text
    assert last_line(standalone)["why"] == "missing_client_id"


def test_a_refusal_that_is_new_to_the_gateway_is_a_refusal() -> None:
    """A later oauthlib may know more of them."""
    with pytest.raises(OAuthError) as refused, with_reasons(required="code"):
        raise ConsentRequired
    assert (refused.value.error, refused.value.status) == ("consent_required", 400)
    assert refused.value.why == "oauthlib"
