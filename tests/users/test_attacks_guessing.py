"""Guessing passwords and secrets: how often, for whom, and counted by all workers together."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from gateway.http.peers import network_of
from tests.support.oauth_client import TOKEN
from tests.support.raw import RawResponse, request
from tests.support.running_gateway import PASSWORD, SERVICE_SECRET, RunningGateway, running_gateway
from tests.support.store import embedded

SIGN_IN = "/oauth/sign-in"
FORM = "Content-Type: application/x-www-form-urlencoded"
TRUSTED_PROXY = "127.0.0.2"
# Refused before it is hashed, so that many attempts take no time.
WRONG = "x" * 1100


def post(
    gateway: RunningGateway,
    target: str,
    fields: dict[str, str],
    *headers: str,
    source: str = TRUSTED_PROXY,
) -> RawResponse:
    """Post a form from an address of the test's choice."""
    body = urlencode(fields).encode()
    return request(gateway.port, target, FORM, *headers, method="POST", body=body, source=source)


@pytest.fixture(scope="module", params=["standalone", "wrapped"])
def limited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway with the default limit on sign-ins, and a lower one for clients.

    Each test comes from addresses of its own, since each leaves them stopped.
    """
    limits = (
        ("sign_in_attempts = 1000", "sign_in_attempts = 10"),
        ("client_attempts = 1000", "client_attempts = 3"),
    )
    folder = tmp_path_factory.mktemp(f"limited-{request.param}")
    with running_gateway(request.param, folder, replace=limits) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_name_is_stopped_anywhere(request: pytest.FixtureRequest) -> None:
    """Forget the failures of other tests for the same name, from whichever address."""
    if "limited" in request.fixturenames:
        with embedded(request.getfixturevalue("limited").data_dir) as redis:
            for key in redis.scan_iter(match="gateway:attempts:name-anywhere:*", count=1000):
                redis.delete(key)


@dataclass(frozen=True)
class Visitor:
    """Somebody who signs in from an address of the test's choice, through a trusted proxy."""

    gateway: RunningGateway
    address: str
    source: str = TRUSTED_PROXY

    def sign_in(self, name: str, password: str, *, address: str | None = None) -> RawResponse:
        return self.send_form(self.open_form(address=address), name, password, address=address)

    def open_form(self, *, address: str | None = None) -> tuple[str, str]:
        """Return the cookie and the token of a sign-in form."""
        page = request(self.gateway.port, SIGN_IN, self._coming_from(address), source=self.source)
        cookie = page.values("Set-Cookie")[0].partition(";")[0]
        csrf_token = re.findall(rb'name="csrf_token" value="([^"]+)"', page.body)[0].decode()
        return cookie, csrf_token

    def send_form(
        self, form: tuple[str, str], name: str, password: str, *, address: str | None = None
    ) -> RawResponse:
        cookie, csrf_token = form
        fields = {"username": name, "password": password, "csrf_token": csrf_token, "next": ""}
        lines = (self._coming_from(address), f"Cookie: {cookie}")
        return post(self.gateway, SIGN_IN, fields, *lines, source=self.source)

    def _coming_from(self, address: str | None) -> str:
        return f"X-Forwarded-For: {address or self.address}"


def assert_too_many(answer: RawResponse) -> None:
    assert answer.status == 429
    assert 0 < int(answer.values("Retry-After")[0]) <= 300
    assert answer.values("Location") == []


def test_ten_wrong_passwords_slow_down_the_next_one(limited: RunningGateway) -> None:
    """For that name and address, the right password included; for no other."""
    visitor = Visitor(limited, "198.51.100.1")
    for _ in range(10):
        assert visitor.sign_in("demo", WRONG).status == 401
    assert_too_many(visitor.sign_in("demo", WRONG))
    assert_too_many(visitor.sign_in("demo", PASSWORD))
    assert visitor.sign_in("zoë", PASSWORD).status == 303
    assert Visitor(limited, "198.51.100.2").sign_in("demo", PASSWORD).status == 303


def test_the_right_password_forgives_the_wrong_ones(limited: RunningGateway) -> None:
    visitor = Visitor(limited, "198.51.100.3")
    for _ in range(2):
        for _ in range(9):
            assert visitor.sign_in("demo", WRONG).status == 401
        assert visitor.sign_in("demo", PASSWORD).status == 303


def test_many_guesses_at_once_are_not_more_guesses(limited: RunningGateway) -> None:
    visitor = Visitor(limited, "198.51.100.4")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: visitor.sign_in("demo", WRONG).status, range(30)))
    assert sorted(answers) == [401] * 10 + [429] * 20


@pytest.fixture(scope="module")
def stopped(limited: RunningGateway) -> Visitor:
    """Somebody at an address that has tried ten times as many names as one may fail."""
    visitor = Visitor(limited, "198.51.100.5")
    at_once = 12
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(
            pool.map(lambda number: visitor.sign_in(f"user-{number}", WRONG).status, range(130))
        )
    # The first past the limit, and those that were let in before it was counted.
    assert answers.count(401) <= 100 + at_once
    return visitor


def test_one_address_does_not_try_every_name(stopped: Visitor) -> None:
    assert_too_many(stopped.sign_in("somebody", WRONG))
    assert_too_many(stopped.sign_in("zoë", PASSWORD))


def test_a_stopped_address_fills_the_store_with_no_names(
    limited: RunningGateway, stopped: Visitor
) -> None:
    with embedded(limited.data_dir) as redis:

        def counters() -> set[str]:
            return set(redis.scan_iter(match="gateway:attempts:*", count=1000))

        before = counters()
        for number in range(5):
            assert_too_many(stopped.sign_in(f"another-{number}", WRONG))
        assert counters() == before
        # Anybody else's attempt makes one.
        assert Visitor(limited, "198.51.100.9").sign_in("another-0", WRONG).status == 401
        assert len(counters()) > len(before)


def test_made_up_addresses_evade_no_limit(limited: RunningGateway) -> None:
    """Neither from a stranger, nor written by a client before those of a trusted proxy."""
    stranger = Visitor(limited, "127.0.0.1", source="127.0.0.1")
    behind = Visitor(limited, "198.51.100.6")
    for number in range(10):
        forged = f"203.0.113.{number}"
        assert stranger.sign_in("demo", WRONG, address=forged).status == 401
        assert behind.sign_in("demo", WRONG, address=f"{forged}, 198.51.100.6").status == 401
    assert_too_many(stranger.sign_in("demo", WRONG, address="203.0.113.99"))
    assert_too_many(behind.sign_in("demo", WRONG, address="203.0.113.99, 198.51.100.6"))


def test_guessing_a_clients_secret_is_limited_too(limited: RunningGateway) -> None:
    def guess(number: int, secret: str = "wrong") -> RawResponse:
        fields = {"grant_type": "client_credentials", "client_id": "service"}
        forged = f"X-Forwarded-For: 203.0.113.{number}"
        source = "127.0.0.1"
        return post(limited, TOKEN, {**fields, "client_secret": secret}, forged, source=source)

    assert [guess(number).status for number in range(3)] == [401] * 3
    assert_too_many(guess(4))
    assert_too_many(guess(5, "service-secret"))


# --- One subscriber has a whole network of addresses (RFC 6177 §2)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("unknown", "unknown"),
        ("192.0.2.1:80", "192.0.2.1"),
        ("", ""),
    ],
)
def test_attempts_count_under_an_address_or_under_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_another_address_of_the_same_network_is_no_other_guesser(limited: RunningGateway) -> None:
    """Of an IPv6 network, that is; the one beside it is somebody else's."""
    for number in range(10):
        visitor = Visitor(limited, f"2001:db8:1:1::{number:x}")
        assert visitor.sign_in("demo", WRONG).status == 401
    assert_too_many(Visitor(limited, "2001:db8:1:1:ffff::1").sign_in("demo", PASSWORD))
    assert Visitor(limited, "2001:db8:1:2::1").sign_in("demo", WRONG).status == 401
    assert Visitor(limited, "2001:db8:1:2::1").sign_in("demo", PASSWORD).status == 303


def test_a_client_is_no_other_guesser_at_another_address_of_the_network(
    limited: RunningGateway,
) -> None:
    def guess(address: str, secret: str = "wrong") -> RawResponse:
        fields = {"grant_type": "client_credentials", "client_id": "service"}
        forwarded = f"X-Forwarded-For: {address}"
        return post(limited, TOKEN, {**fields, "client_secret": secret}, forwarded)

    assert [guess(f"2001:db8:2:1::{number}").status for number in range(3)] == [401] * 3
    assert_too_many(guess("2001:db8:2:1::ffff"))
    assert_too_many(guess("2001:db8:2:1:ffff::", SERVICE_SECRET))
    assert guess("2001:db8:2:2::1").status == 401
    assert guess("2001:db8:2:2::1", SERVICE_SECRET).status == 200


# --- Several workers count together


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway of two processes, with limits of ten."""
    changes = (
        ("workers = 1", "workers = 2"),
        ("sign_in_attempts = 1000", "sign_in_attempts = 10"),
        ("client_attempts = 1000", "client_attempts = 10"),
    )
    folder = tmp_path_factory.mktemp("two-workers")
    with running_gateway("standalone", folder, replace=changes) as running:
        yield running


def test_wrong_passwords_at_once_are_counted_by_all_workers_together(
    two_workers: RunningGateway,
) -> None:
    visitor = Visitor(two_workers, "198.51.100.1")
    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda _: visitor.sign_in("demo", WRONG).status, range(30)))
    assert sorted(answers) == [401] * 10 + [429] * 20
    assert_too_many(visitor.sign_in("demo", PASSWORD))


def test_wrong_secrets_at_once_are_counted_by_all_workers_together(
    two_workers: RunningGateway,
) -> None:
    def guess(number: int) -> RawResponse:
        basic = b64encode(f"service:guess {number}".encode()).decode()
        fields = {"grant_type": "client_credentials"}
        return post(two_workers, TOKEN, fields, f"Authorization: Basic {basic}")

    with ThreadPoolExecutor(30) as pool:
        answers = list(pool.map(lambda number: guess(number).status, range(30)))
    assert sorted(answers) == [401] * 10 + [429] * 20
    for number in range(4):
        assert_too_many(guess(number))


def test_a_stop_holds_at_every_gateway_of_the_store_also_for_the_right_one(
    tmp_path: Path, limited: RunningGateway
) -> None:
    """What one of them has counted, another one has never heard of but from the store."""
    limits = (
        ("sign_in_attempts = 1000", "sign_in_attempts = 1"),
        ("client_attempts = 1000", "client_attempts = 3"),
    )
    fields = {"grant_type": "client_credentials", "client_id": "service"}
    settings: dict[str, Any] = {"data_dir": limited.data_dir, "replace": limits}
    other_mode = "wrapped" if limited.mode == "standalone" else "standalone"
    with running_gateway(other_mode, tmp_path, **settings) as other:
        here, there = "X-Forwarded-For: 198.51.100.41", "X-Forwarded-For: 198.51.100.42"
        wrong, right = ({**fields, "client_secret": each} for each in ("wrong", SERVICE_SECRET))
        for _ in range(4):
            post(limited, TOKEN, wrong, here)
        assert_too_many(post(other, TOKEN, right, here))
        assert post(other, TOKEN, right, there).status == 200

        visitor = Visitor(limited, "198.51.100.43")
        for number in range(11):
            assert visitor.sign_in(f"somebody-{number}", WRONG).status == 401
        # Ten times as many as one name may fail; there, that is ten.
        assert_too_many(Visitor(other, "198.51.100.43").sign_in("zoë", PASSWORD))
        assert Visitor(other, "198.51.100.44").sign_in("zoë", PASSWORD).status == 303
