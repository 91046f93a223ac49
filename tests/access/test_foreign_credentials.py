"""Credentials for the backend itself reach it on a public route; the gateway's own never do."""

from __future__ import annotations

from base64 import b64encode

import pytest

from tests.access.echoed import said, told
from tests.support.running_gateway import RunningGateway


def basic(credentials: str) -> str:
    return f"Basic {b64encode(credentials.encode()).decode()}"


FOREIGN = (
    "token key:secret",
    basic("user:password"),
    'Digest username="u", uri="/public/x"',
    "ApiKey abc",
    "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c",
    "Bearerish abc",
    "Basic !!!",
)


@pytest.mark.parametrize("value", FOREIGN)
def test_credentials_that_are_no_bearer_token_reach_a_public_route(
    gateway: RunningGateway, value: str
) -> None:
    assert told(said(gateway, "/public/x", f"Authorization: {value}"), "Authorization") == [value]


def test_the_gateways_own_token_never_does(gateway: RunningGateway, token: str) -> None:
    for value in (
        f"Bearer {token}",
        f"bearer\t{token}",
        "Bearer of-somebody-else",
        "Bearer",
        f"token {token}",
        token,
        f"token key:{token}",
        basic(f"{token}:x-oauth-basic"),
        basic(f"oauth2:{token}"),
        basic(f"x:{token}").rstrip("="),
    ):
        echoed = said(gateway, "/public/x", f"Authorization: {value}")
        assert told(echoed, "Authorization") == [], value
        assert token not in str(echoed)


def test_nor_in_a_second_line(gateway: RunningGateway, token: str) -> None:
    lines = f"Authorization: {basic('user:password')}", f"Authorization: Bearer {token}"
    for order in (lines, lines[::-1]):
        assert token not in str(said(gateway, "/public/x", *order))


def test_on_a_route_that_needs_a_token_there_is_one_authorization_and_it_stays_here(
    gateway: RunningGateway, token: str
) -> None:
    assert told(said(gateway, "/private", f"Authorization: Bearer {token}"), "Authorization") == []
