"""A token without a scope has no `scope` member; spaces at the ends of a scope mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from tests.support.oauth_client import answer_of, authorization
from tests.support.parties import Parties
from tests.support.running_gateway import RunningGateway, running_gateway

METADATA = "/.well-known/oauth-authorization-server"


def test_a_token_without_a_scope_has_no_scope_member(parties: Parties) -> None:
    """RFC 6749 §3.3 and RFC 7662 §2.2: a scope has one name or more."""
    client = parties.resource_server
    issued = client.post("/oauth/token", {"grant_type": "client_credentials"})
    assert issued.status_code == 200, issued.text
    assert issued.json().keys() == {"access_token", "token_type", "expires_in"}
    told = client.introspect(issued.json()["access_token"]).json()
    assert told["active"] is True
    assert "scope" not in told


@pytest.mark.parametrize("scope", ["project ", " project", "  project  ", "project project "])
def test_spaces_around_a_scope_mean_nothing(parties: Parties, scope: str) -> None:
    client = parties.confidential
    code = parties.code(client, scope=scope)
    issued = client.redeem(code).json()
    assert issued["scope"] == "project"
    assert client.refresh(issued["refresh_token"], scope=scope).json()["scope"] == "project"
    form = {"grant_type": "client_credentials", "scope": scope}
    assert parties.service.post("/oauth/token", form).json()["scope"] == "project"


@pytest.mark.parametrize("scope", [" ", "project\t", "\nproject", "project\u00a0"])
def test_other_space_is_no_part_of_a_scope(parties: Parties, scope: str) -> None:
    answer = parties.browser.authorize(**authorization(scope=scope))
    assert answer_of(answer)["error"] == "invalid_scope"


def test_the_metadata_say_what_clients_in_the_store_can_do(tmp_path: Path) -> None:
    """A client for itself may be added at any time; RFC 8414 §2: no empty list."""
    replace = (
        ('grant_types = ["client_credentials"]', 'redirect_uris = ["https://x.example/cb"]'),
        ('project = "See and change your projects"', ""),
        ('profile = "See your name and address"', ""),
        ('admin = "Manage everything"', ""),
        ('scopes = ["project"]', ""),
        ('scopes = ["project", "profile"]', ""),
        ('scopes = ["project", "admin"]', ""),
        ('scopes = ["project", "profile", "admin"]', ""),
        ('scopes = ["admin"]', ""),
    )
    with running_gateway("wrapped", tmp_path, replace=replace) as gateway:
        document = metadata(gateway)
    assert document["grant_types_supported"] == [
        "authorization_code",
        "refresh_token",
        "client_credentials",
    ]
    assert "scopes_supported" not in document
    assert all(value for value in document.values())


def test_the_metadata_have_the_scopes_that_there_are(standalone: RunningGateway) -> None:
    assert metadata(standalone)["scopes_supported"] == ["project", "profile", "admin"]


def metadata(gateway: RunningGateway) -> dict[str, object]:
    document: dict[str, object] = requests.get(gateway.url + METADATA, timeout=20).json()
    return document
