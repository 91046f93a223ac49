"""Many addresses guess at one name: it is slowed down, and its owner is not locked out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.raw import RawResponse, request
from tests.support.running_gateway import PASSWORD, RunningGateway, running_gateway
from tests.users.signing_in import SIGN_IN, post_form

# Refused before it is hashed, so that many attempts take no time.
WRONG = "x" * 1100
TRUSTED_PROXY = "127.0.0.2"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway with a limit of four: twenty failures stop a name, from wherever they come."""
    limits = (("sign_in_attempts = 1000", "sign_in_attempts = 4"),)
    folder = tmp_path_factory.mktemp("one-name")
    with running_gateway("standalone", folder, replace=limits) as running:
        yield running


def sign_in(
    gateway: RunningGateway, address: str, name: str, password: str, known: str = "x=1"
) -> RawResponse:
    coming_from = f"X-Forwarded-For: {address}"
    page = request(gateway.port, SIGN_IN, coming_from, source=TRUSTED_PROXY)
    cookie = page.values("Set-Cookie")[0].partition(";")[0]
    csrf_token = re.findall(rb'name="csrf_token" value="([^"]+)"', page.body)[0].decode()
    fields = {"username": name, "password": password, "csrf_token": csrf_token, "next": ""}
    target, content_type, body = post_form(SIGN_IN, fields)
    lines = (content_type, coming_from, f"Cookie: {cookie}; {known}")
    return request(gateway.port, target, *lines, method="POST", body=body, source=TRUSTED_PROXY)


def known_cookie(response: RawResponse) -> str:
    assert response.status == 303
    (cookie,) = [each for each in response.values("Set-Cookie") if "_known=" in each]
    return cookie.partition(";")[0]


def test_addresses_together_are_slowed_down_for_the_name_and_its_owner_is_not(
    limited: RunningGateway,
) -> None:
    owners = known_cookie(sign_in(limited, "198.51.100.1", "demo", PASSWORD))
    anothers = known_cookie(sign_in(limited, "198.51.100.2", "zoë", PASSWORD))
    assert "demo" not in owners
    answers = [sign_in(limited, f"203.0.113.{n}", "demo", WRONG).status for n in range(25)]
    assert answers == [401] * 20 + [429] * 5
    # The right password is stopped too, or a guesser would know it by that.
    assert sign_in(limited, "203.0.113.99", "demo", PASSWORD).status == 429
    for forged in (anothers, owners.swapcase(), owners[:-2], "gateway_session_known=", "x=1"):
        assert sign_in(limited, "203.0.113.98", "demo", PASSWORD, forged).status == 429
    assert sign_in(limited, "198.51.100.3", "zoë", PASSWORD).status == 303
    assert sign_in(limited, "198.51.100.4", "demo", PASSWORD, owners).status == 303
    # The proof lets nobody guess without an end: the limit for an address stays.
    guesses = [sign_in(limited, "198.51.100.5", "demo", WRONG, owners).status for _ in range(5)]
    assert guesses == [401] * 4 + [429]
