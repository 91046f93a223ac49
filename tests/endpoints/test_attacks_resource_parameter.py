"""A resource may be named more than once, and here it is of no consequence (RFC 8707 §2)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.oauth_client import FRAPPE, INTROSPECT, REVOKE, TOKEN, Client
from tests.support.parties import Parties


@pytest.fixture(
    params=[
        "resource=https%3A%2F%2Fone.example&resource=https%3A%2F%2Ftwo.example",
        "resource=https%3A%2F%2Fone.example&resource=https%3A%2F%2Fone.example",
        "resource=&resource=https%3A%2F%2Fone.example",
    ],
    ids=["two", "the same twice", "an empty one"],
)
def resources(request: pytest.FixtureRequest) -> str:
    """Two resources, as they stand in a form."""
    return str(request.param)


def post_with(resources: str, client: Client, path: str, form: dict[str, str]) -> Any:
    """Post a good form with two resources in it; return the members of the answer."""
    body = f"{urlencode(form)}&{resources}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = client.post(path, body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_two_resources_are_no_error_in_a_token_request(parties: Parties, resources: str) -> None:
    client = parties.confidential
    code = {"code": parties.code(client), "redirect_uri": client.redirect_uri}
    first = post_with(resources, client, TOKEN, {"grant_type": "authorization_code", **code})
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = post_with(resources, client, TOKEN, form)
    own = post_with(resources, parties.service, TOKEN, {"grant_type": "client_credentials"})
    for answer in (first, second, own):
        assert answer.keys() - {"refresh_token"} == {
            "access_token",
            "token_type",
            "expires_in",
            "scope",
        }
        assert parties.is_valid(answer["access_token"])
    # What was asked for as if it were for another resource is the same token.
    assert client.refresh(first["refresh_token"]).json()["access_token"] == second["access_token"]


@pytest.mark.parametrize("path", [REVOKE, FRAPPE + "revoke_token"], ids=["standard", "frappe"])
def test_two_resources_are_no_error_in_a_revocation(
    parties: Parties, resources: str, path: str
) -> None:
    client = parties.confidential
    tokens = parties.tokens(client)
    post_with(resources, client, path, {"token": tokens.access})
    assert not parties.is_valid(tokens.access)


def test_two_resources_are_no_error_in_an_introspection(parties: Parties, resources: str) -> None:
    client = parties.confidential
    tokens = parties.tokens(client)
    for token in (tokens.access, tokens.refresh):
        told = post_with(resources, client, INTROSPECT, {"token": token})
        assert told["active"] is True
        assert told == client.introspect(token).json()
