"""What a request costs in commands to the store. Every one of them is a round trip, or less.

Nobody waits for ``EVAL``: it notes that an answer has arrived, that a token was used, or that an
index has to list a grant or to drop it. ``tests/faults/test_deliveries.py`` counts what a request
does wait for. ``TIME`` is sent along with a read once a second.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial

import pytest
from redis import Redis

from gateway.clients.registry import Clients
from gateway.config.settings import Client as RegisteredClient
from gateway.config.settings import Store
from gateway.store.redis_client import RedisClient
from tests.support.oauth_client import TOKEN, Client
from tests.support.parties import Parties
from tests.support.running_gateway import RunningGateway


@pytest.fixture(scope="module")
def kept_in_the_store(gateway: RunningGateway) -> Client:
    """A client that is asked of the store every time."""
    link = RedisClient(Store(data_dir=gateway.data_dir, timeout=5.0))
    Clients((), link, "gateway").add(
        RegisteredClient(
            client_id="kept",
            name="Kept",
            redirect_uris=("https://kept.example/cb",),
            scopes=("project",),
            pkce="optional",
        )
    )
    link.close()
    return Client(gateway.url, "kept", redirect_uri="https://kept.example/cb")


def commands(redis: Redis, request: Callable[[], object]) -> list[str]:
    """Return the commands that the gateway sends for a request, not those of its scripts."""
    marker = secrets.token_hex()
    seen: list[str] = []
    # A connection that is there already: what a new one says of itself would be counted.
    with redis.client() as end, redis.monitor() as monitor:
        end.ping()
        request()
        end.echo(marker)
        for each in monitor.listen():
            if marker in each["command"]:
                return [name for name in seen if name not in {"PING", "TIME"}]
            if each["client_type"] != "lua":
                seen.append(each["command"].split(" ", 1)[0].upper())
    raise AssertionError("the monitor ended")


def test_a_forwarded_request_costs_one_command(parties: Parties, redis: Redis) -> None:
    access = parties.tokens(parties.public).access
    # The first one notes the use as well, along with the question.
    assert commands(redis, lambda: parties.is_valid(access)) == ["GET", "EVAL"]
    for _ in range(3):
        assert commands(redis, lambda: parties.is_valid(access)) == ["GET"]


@pytest.mark.parametrize("token", ["x", "gwa_" + "A" * 64, "Bearer", "*" * 3000])
def test_a_made_up_token_costs_nothing(parties: Parties, redis: Redis, token: str) -> None:
    assert commands(redis, lambda: parties.public.get("/resource", token)) == []


def test_a_request_without_a_token_costs_nothing(parties: Parties, redis: Redis) -> None:
    for target in ("/public/x", "/private"):
        assert commands(redis, lambda target=target: parties.browser.get(target)) == []  # type: ignore[misc]


def test_a_code_exchange_costs_two_at_most_and_three_notes(
    parties: Parties, redis: Redis, kept_in_the_store: Client
) -> None:
    """The client, if it is kept there; the exchange; the entries in two indexes, and the note."""
    for client, asked in (
        (parties.public, []),
        # How often somebody failed in its name, which is asked along with what it is.
        (parties.confidential, ["SCARD"]),
        (kept_in_the_store, ["GET"]),
    ):
        parties.tokens(client)
        code = parties.code(client)
        seen = commands(redis, partial(client.redeem, code))
        assert seen == [*asked, "EVALSHA", "EVAL", "EVAL", "EVAL"]


def test_a_refresh_costs_two_at_most_and_a_note(
    parties: Parties, redis: Redis, kept_in_the_store: Client
) -> None:
    for client, asked in (
        (parties.public, []),
        # How often somebody failed in its name, which is asked along with what it is.
        (parties.confidential, ["SCARD"]),
        (kept_in_the_store, ["GET"]),
    ):
        first = parties.tokens(client).refresh
        second = client.refresh(first).json()["refresh_token"]
        for token in (second, first):
            seen = commands(redis, partial(client.refresh, token))
            assert seen == [*asked, "EVALSHA", "EVAL"]


def test_a_revocation_costs_one_and_introspection_one_and_a_secret_one_more(
    parties: Parties, redis: Redis
) -> None:
    client = parties.confidential
    tokens = parties.tokens(client)
    client.introspect(tokens.access)
    assert commands(redis, lambda: client.introspect(tokens.access)) == ["SCARD", "GET"]
    assert commands(redis, lambda: client.introspect(tokens.refresh)) == ["SCARD", "GET"]
    client.revoke(tokens.access)
    seen = commands(redis, lambda: client.revoke(tokens.refresh))
    # Nobody waits until the grant has left its two indexes.
    assert seen == ["SCARD", "EVALSHA", "EVAL", "EVAL"]
    assert commands(redis, lambda: client.revoke("gwr_unknown")) == ["SCARD"]
    access = parties.tokens(parties.public).access
    assert commands(redis, lambda: parties.public.revoke(access)) == ["EVALSHA"]


def test_wrong_credentials_cost_no_more_than_right_ones(parties: Parties, redis: Redis) -> None:
    def attempt(client_id: str, secret: str) -> list[str]:
        client = Client(parties.url, client_id, secret)
        form = {"grant_type": "client_credentials"}
        return commands(redis, lambda: client.post(TOKEN, form))

    attempt("service", "wrong")
    assert attempt("service", "wrong") == ["SCARD", "EVALSHA"]
    assert attempt("nobody", "wrong") == ["GET", "SCARD"]
