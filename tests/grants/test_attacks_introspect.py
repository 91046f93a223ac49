"""What is tried with introspection, and what it promises (RFC 7662)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import requests
from redis import Redis

from tests.support.assertions import assert_not_cached, assert_refused
from tests.support.oauth_client import INTROSPECT, TOKEN
from tests.support.parties import Parties, Tokens
from tests.support.store import grant_id, grant_key, let_pass

INACTIVE = {"active": False}


def test_a_client_learns_of_its_own_access_token(parties: Parties, redis: Redis) -> None:
    client = parties.confidential
    tokens = parties.tokens(client, scope="project profile")
    answer = client.introspect(tokens.access)
    assert answer.status_code == 200
    assert_not_cached(answer)
    members = answer.json()
    (now, _) = redis.time()
    assert now + 3500 < members.pop("exp") <= now + 3600
    assert members == {
        "active": True,
        "scope": "project profile",
        "client_id": "confidential",
        "username": "demo",
        "sub": "demo",
        "token_type": "Bearer",
    }


def test_a_clients_own_grant_has_no_user(parties: Parties) -> None:
    service = parties.service
    issued = service.post(TOKEN, {"grant_type": "client_credentials", "scope": "project"}).json()
    members = service.introspect(issued["access_token"]).json()
    assert members["active"] is True
    assert not members.keys() & {"username", "sub"}


def test_a_narrowed_access_token_is_told_by_its_own_scope(parties: Parties) -> None:
    client = parties.confidential
    tokens = parties.tokens(client, scope="project profile")
    narrowed = client.refresh(tokens.refresh, scope="profile").json()
    assert client.introspect(narrowed["access_token"]).json()["scope"] == "profile"


def test_a_refresh_token_is_active_as_long_as_it_is_the_current_one(parties: Parties) -> None:
    client = parties.confidential
    tokens = parties.tokens(client)
    assert client.introspect(tokens.refresh).json()["active"] is True
    current = client.refresh(tokens.refresh).json()["refresh_token"]
    assert client.introspect(tokens.refresh).json() == INACTIVE
    assert client.introspect(current).json()["token_type"] == "refresh_token"


def test_a_resource_server_may_ask_about_any_token(parties: Parties) -> None:
    tokens = parties.tokens(parties.public)
    for token in (tokens.access, tokens.refresh):
        members = parties.resource_server.introspect(token).json()
        assert (members["active"], members["client_id"]) == (True, "my-app")


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense"])
def test_a_wrong_hint_does_not_hide_a_token_from_introspection(parties: Parties, hint: str) -> None:
    tokens = parties.tokens(parties.confidential)
    for token in (tokens.access, tokens.refresh):
        answer = parties.confidential.post(INTROSPECT, {"token": token, "token_type_hint": hint})
        assert answer.json()["active"] is True


@dataclass(frozen=True)
class Dead:
    """Tokens that are good for nothing, each in its own way."""

    parties: Parties
    redis: Redis

    def unknown(self) -> str:
        return "gwa_" + "A" * 64

    def garbage(self) -> str:
        return "{}[]*"

    def code(self) -> str:
        return self.parties.code(self.parties.confidential)

    def expired(self) -> str:
        tokens = self._tokens()
        let_pass(self.redis, grant_id(tokens.access), 3601)
        return tokens.access

    def revoked(self) -> str:
        tokens = self._tokens()
        self.parties.confidential.revoke(tokens.access)
        return tokens.access

    def of_a_revoked_grant(self) -> str:
        tokens = self._tokens()
        self.parties.confidential.revoke(tokens.refresh)
        return tokens.access

    def revoked_refresh_token(self) -> str:
        tokens = self._tokens()
        self.parties.confidential.revoke(tokens.refresh)
        return tokens.refresh

    def of_a_replayed_code(self) -> str:
        client = self.parties.confidential
        code = self.parties.code(client)
        access: str = client.redeem(code).json()["access_token"]
        client.redeem(code)
        return access

    def somebody_elses(self) -> str:
        return self.parties.tokens(self.parties.public).access

    def somebody_elses_refresh_token(self) -> str:
        return self.parties.tokens(self.parties.public).refresh

    def _tokens(self) -> Tokens:
        return self.parties.tokens(self.parties.confidential)


@pytest.mark.parametrize(
    "kind",
    [
        "unknown",
        "garbage",
        "code",
        "expired",
        "revoked",
        "of_a_revoked_grant",
        "revoked_refresh_token",
        "of_a_replayed_code",
        "somebody_elses",
        "somebody_elses_refresh_token",
    ],
)
def test_of_any_other_token_nothing_is_told(parties: Parties, redis: Redis, kind: str) -> None:
    """RFC 7662 §2.2: not even why."""
    token = getattr(Dead(parties, redis), kind)()
    answer = parties.confidential.introspect(token)
    assert answer.status_code == 200
    assert answer.json() == INACTIVE
    assert_not_cached(answer)


@pytest.mark.parametrize("client_id", ["my-app", "pkce-app", None], ids=str)
def test_introspection_without_client_authentication_is_401(
    parties: Parties, client_id: str | None
) -> None:
    """RFC 7662 §2.1: a name is no authentication."""
    tokens = parties.tokens(parties.public)
    form = {"token": tokens.access} | ({"client_id": client_id} if client_id else {})
    answer = requests.post(parties.url + INTROSPECT, form, timeout=20)
    assert_refused(answer, "invalid_client", 401)
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def test_a_bearer_token_does_not_authenticate_its_client(parties: Parties) -> None:
    tokens = parties.tokens(parties.confidential)
    headers = {"Authorization": f"Bearer {tokens.access}"}
    form = {"token": tokens.access}
    answer = requests.post(parties.url + INTROSPECT, form, headers=headers, timeout=20)
    assert_refused(answer, "invalid_client", 401)


def test_introspection_without_a_token_is_a_bad_request(parties: Parties) -> None:
    assert_refused(parties.confidential.post(INTROSPECT, {}), "invalid_request")


def test_introspection_does_not_prolong_a_grant(parties: Parties, redis: Redis) -> None:
    tokens = parties.tokens(parties.confidential)
    key = grant_key(grant_id(tokens.access))
    let_pass(redis, grant_id(tokens.access), 1000)
    before = redis.pttl(key)
    for token in (tokens.access, tokens.refresh):
        parties.confidential.introspect(token)
    assert redis.pttl(key) <= before
