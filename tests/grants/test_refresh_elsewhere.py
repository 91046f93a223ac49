"""A refresh token that two networks present within its grace time is told in the audit log.

Both get the same tokens: a client may have moved. But somebody may have stolen one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from redis import Redis

from tests.support.parties import Parties, parties_at
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.store import embedded, grant_id, grant_key, stored_grant

FIRST, OTHER = "203.0.113.7", "198.51.100.9"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway("wrapped", tmp_path_factory.mktemp("elsewhere")) as running:
        yield running


@pytest.fixture(scope="module")
def redis(gateway: RunningGateway) -> Iterator[Redis]:
    with embedded(gateway.data_dir) as redis:
        yield redis


@pytest.fixture
def refresh_token(gateway: RunningGateway) -> str:
    parties: Parties = parties_at(gateway)
    return parties.tokens(parties.public).refresh


def refresh(gateway: RunningGateway, token: str, address: str) -> tuple[str, str | None]:
    """Refresh from an address; return the next token, and the grounds in the audit log."""
    form = {"grant_type": "refresh_token", "client_id": "my-app", "refresh_token": token}
    answer = request(
        gateway.port,
        "/oauth/token",
        f"X-Forwarded-For: {address}",
        "Content-Type: application/x-www-form-urlencoded",
        method="POST",
        body=urlencode(form).encode(),
        source="127.0.0.2",
    )
    line = json.loads(gateway.audit.read_text().splitlines()[-1])
    assert (answer.status, line["event"], line["outcome"]) == (200, "token", "allowed")
    assert line["address"] == address
    return answer.json()["refresh_token"], line.get("why")


def test_a_repetition_from_the_same_address_is_nothing_to_tell(
    gateway: RunningGateway, refresh_token: str
) -> None:
    first = refresh(gateway, refresh_token, FIRST)
    assert first[1] is None
    assert refresh(gateway, refresh_token, FIRST) == first


def test_a_repetition_from_another_address_is_told_and_gives_the_same(
    gateway: RunningGateway, refresh_token: str
) -> None:
    given, _ = refresh(gateway, refresh_token, FIRST)
    assert refresh(gateway, refresh_token, OTHER) == (given, "repeated_elsewhere")
    # The first one is the one to compare with, whoever came in between.
    assert refresh(gateway, refresh_token, OTHER) == (given, "repeated_elsewhere")
    assert refresh(gateway, refresh_token, FIRST) == (given, None)


def test_a_client_that_moves_between_two_refreshes_is_nothing_to_tell(
    gateway: RunningGateway, refresh_token: str
) -> None:
    given, _ = refresh(gateway, refresh_token, FIRST)
    assert refresh(gateway, given, OTHER)[1] is None


def test_each_token_has_a_first_address_of_its_own(
    gateway: RunningGateway, refresh_token: str
) -> None:
    given, _ = refresh(gateway, refresh_token, FIRST)
    refresh(gateway, given, OTHER)
    assert refresh(gateway, refresh_token, FIRST)[1] is None
    assert refresh(gateway, given, OTHER)[1] is None
    assert refresh(gateway, refresh_token, OTHER)[1] == "repeated_elsewhere"


def test_another_address_of_a_subscriber_is_the_same_network(
    gateway: RunningGateway, refresh_token: str
) -> None:
    """RFC 6177 §2: and privacy addresses change within minutes (RFC 8981)."""
    refresh(gateway, refresh_token, "2001:db8:0:1::1")
    assert refresh(gateway, refresh_token, "2001:db8:0:1::2")[1] is None
    assert refresh(gateway, refresh_token, "2001:db8:0:2::1")[1] == "repeated_elsewhere"


def test_a_grant_that_an_older_gateway_rotated_has_no_address_to_compare_with(
    gateway: RunningGateway, redis: Redis, refresh_token: str
) -> None:
    given, _ = refresh(gateway, refresh_token, FIRST)
    stored = stored_grant(redis, grant_id(refresh_token))
    del stored["origins"]
    redis.set(grant_key(grant_id(refresh_token)), json.dumps(stored), keepttl=True)
    assert refresh(gateway, refresh_token, OTHER) == (given, None)


def test_the_store_knows_no_address_and_no_more_of_it_than_of_exchanged_tokens(
    gateway: RunningGateway, redis: Redis, refresh_token: str
) -> None:
    given, _ = refresh(gateway, refresh_token, FIRST)
    refresh(gateway, given, OTHER)
    stored = stored_grant(redis, grant_id(refresh_token))
    assert stored["origins"].keys() <= stored["rotated"].keys()
    assert {len(origin) for origin in stored["origins"].values()} == {6}
    assert FIRST not in str(stored)
