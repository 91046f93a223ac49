"""Gateways whose clocks are an hour apart agree about every token, for the store's clock counts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from redis import Redis

from tests.support.assertions import assert_refused
from tests.support.oauth_client import TOKEN, Browser
from tests.support.parties import Parties, signed_in_browser
from tests.support.running_gateway import RunningGateway, running_gateway
from tests.support.store import embedded, grant_id, let_pass

#: Python runs a module of this name before anything else.
SHIFTED = """
import datetime
import os
import time

seconds = float(os.environ["TEST_CLOCK_SHIFT"])
true_time, true_time_ns, true_datetime = time.time, time.time_ns, datetime.datetime


class ShiftedDatetime(true_datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

    @classmethod
    def utcnow(cls):
        return cls.now(datetime.UTC).replace(tzinfo=None)


time.time = lambda: true_time() + seconds
time.time_ns = lambda: true_time_ns() + int(seconds * 1e9)
datetime.datetime = ShiftedDatetime
"""
HOUR = 3600


class Pair(NamedTuple):
    """Who takes part at two gateways of one store, and that store."""

    on_time: Parties
    off: Parties
    redis: Redis


@pytest.fixture(scope="module", params=[HOUR, -HOUR], ids=["ahead", "behind"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("clocks")
    data_dir = folder / "data"
    (folder / "path").mkdir()
    (folder / "path" / "sitecustomize.py").write_text(SHIFTED)
    with (
        embedded(data_dir) as redis,
        running_gateway("wrapped", folder / "on-time", data_dir=data_dir) as on_time,
        pytest.MonkeyPatch.context() as environment,
    ):
        environment.setenv("PYTHONPATH", str(folder / "path"))
        environment.setenv("TEST_CLOCK_SHIFT", str(request.param))
        with running_gateway("wrapped", folder / "off", data_dir=data_dir) as off:
            assert_shifted(off, request.param)
            browser = signed_in_browser(on_time.url)
            yield Pair(
                Parties(on_time.url, browser),
                Parties(off.url, Browser(off.url, browser.session)),
                redis,
            )


def assert_shifted(gateway: RunningGateway, seconds: int) -> None:
    """Its word for the time is in the audit log; if it is right, these tests say nothing."""
    Browser(gateway.url).get("/resource", headers={"Connection": "close"})
    line = gateway.audit.read_text().splitlines()[-1]
    told = datetime.fromisoformat(line.partition('"time": "')[2].partition('"')[0])
    shift = told - datetime.now(UTC)
    assert abs(shift - timedelta(seconds=seconds)) < timedelta(seconds=60)


@pytest.fixture(params=[False, True], ids=["from one", "from the other"])
def both(pair: Pair, request: pytest.FixtureRequest) -> tuple[Parties, Parties, Redis]:
    """The gateway that gives, the one that is asked, and their store."""
    if request.param:
        return pair.off, pair.on_time, pair.redis
    return pair.on_time, pair.off, pair.redis


def test_what_one_gives_the_other_takes(both: tuple[Parties, Parties, Redis]) -> None:
    here, there, _ = both
    code = here.code(here.public)
    given = there.public.redeem(code).json()
    assert given["expires_in"] == HOUR
    assert here.is_valid(given["access_token"])
    assert there.is_valid(given["access_token"])
    again = here.public.refresh(given["refresh_token"]).json()
    same = there.public.refresh(given["refresh_token"]).json()
    assert same["refresh_token"] == again["refresh_token"]
    assert HOUR - 10 <= same["expires_in"] <= HOUR


def test_what_is_old_for_one_is_old_for_the_other(both: tuple[Parties, Parties, Redis]) -> None:
    here, there, redis = both
    tokens = here.tokens(here.public)
    let_pass(redis, grant_id(tokens.access), HOUR - 60)
    assert here.is_valid(tokens.access)
    assert there.is_valid(tokens.access)
    let_pass(redis, grant_id(tokens.access), 60)
    assert not here.is_valid(tokens.access)
    assert not there.is_valid(tokens.access)


def test_they_agree_about_the_grace_time(both: tuple[Parties, Parties, Redis]) -> None:
    here, there, redis = both
    tokens = here.tokens(here.public)
    given = here.public.refresh(tokens.refresh).json()
    let_pass(redis, grant_id(tokens.access), 20)
    same = there.public.refresh(tokens.refresh).json()
    assert same["refresh_token"] == given["refresh_token"]
    let_pass(redis, grant_id(tokens.access), 20)
    assert_refused(there.public.refresh(tokens.refresh), "invalid_grant")
    assert not here.is_valid(given["access_token"])


def test_they_agree_about_a_code_that_expired(both: tuple[Parties, Parties, Redis]) -> None:
    here, there, redis = both
    for seconds, status in ((50, 200), (61, 400)):
        code = here.code(here.public)
        let_pass(redis, grant_id(code), seconds)
        assert there.public.redeem(code).status_code == status


def test_they_tell_the_same_about_a_token(both: tuple[Parties, Parties, Redis]) -> None:
    here, there, redis = both
    tokens = here.tokens(here.confidential)
    told = here.confidential.introspect(tokens.access).json()
    assert there.confidential.introspect(tokens.access).json() == told
    (now, _) = redis.time()
    assert now < told["exp"] <= now + HOUR


def test_what_one_revokes_is_dead_at_the_other(both: tuple[Parties, Parties, Redis]) -> None:
    here, there, _ = both
    tokens = here.tokens(here.public)
    there.public.revoke(tokens.access)
    assert not here.is_valid(tokens.access)
    here.public.revoke(tokens.refresh)
    assert_refused(there.public.refresh(tokens.refresh), "invalid_grant")


def test_a_clients_own_token_lives_as_long_at_both(both: tuple[Parties, Parties, Redis]) -> None:
    here, there, _ = both
    issued = here.service.post(TOKEN, {"grant_type": "client_credentials"}).json()
    assert issued["expires_in"] == HOUR
    assert there.is_valid(issued["access_token"])


def test_a_session_of_one_is_a_session_of_the_other(pair: Pair) -> None:
    page = pair.off.browser.get("/oauth/applications")
    assert page.status_code == 200
    assert parsedate_to_datetime(page.headers["Date"])
