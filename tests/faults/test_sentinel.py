"""Behind Sentinel: how clients see a failover, what it can lose, and how WAIT prevents that.

A replica may be behind its primary. A test that shows a loss parts the two first, and one
that shows that there is none lets the last changes through: neither depends on luck.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults.load import load
from tests.faults.site import LIMIT, Site, at_once, seconds_until, site, timed, tokens_of
from tests.faults.topologies import SentinelSet, sentinel


@pytest.fixture(scope="module")
def servers(folder: Path) -> Iterator[SentinelSet]:
    """A primary and two replicas, watched by three Sentinels."""
    with sentinel(folder / "sentinel", replicas=2, sentinels=3) as running:
        yield running


@pytest.fixture
def watched(servers: SentinelSet) -> Iterator[SentinelSet]:
    """The same, whole again after each test."""
    yield servers
    servers.restore()


@pytest.fixture(scope="module")
def hasty(folder: Path, servers: SentinelSet) -> Iterator[Site]:
    """A gateway that acknowledges what the primary has."""
    with site("standalone", folder / "hasty", servers.url) as running:
        yield running


@pytest.fixture(scope="module")
def careful(folder: Path, servers: SentinelSet) -> Iterator[Site]:
    """A gateway that acknowledges a revocation when a replica has it as well."""
    with site("standalone", folder / "careful", servers.url, store="wait_replicas = 1") as running:
        yield running


def until_asked(watched: SentinelSet, site: Site, access: str) -> float:
    """Wait until the gateway asks the primary that the Sentinels name; return how long (s)."""
    before = watched.primary.decisions()

    def is_asked() -> bool:
        site.use(access)
        return watched.primary.decisions() > before

    return seconds_until(is_asked)


def test_the_primary_alone_is_asked(watched: SentinelSet, hasty: Site) -> None:
    """A replica may not know of a revocation yet."""
    tokens = tokens_of(hasty.client.refresh(hasty.tokens().refresh))
    assert hasty.works(tokens.access)
    assert hasty.client.revoke(tokens.refresh).status_code == 200
    assert hasty.use(tokens.access).status_code == 401
    assert watched.primary.decisions() > 0
    assert [each.decisions() for each in watched.replicas] == [0, 0]


def test_a_failover_is_a_pause_for_clients_and_nothing_else(
    watched: SentinelSet, hasty: Site
) -> None:
    """Kill -9 of the primary under load: 503 in time for as long as it lasts, then all goes on."""
    primary = watched.primary
    with load(hasty) as running:
        running.goes_on()
        watched.hold_changes()
        primary.kill()
        running.goes_on()
    assert running.unavailable > 0
    assert watched.primary is not primary
    for each in running.kept:
        assert hasty.works(tokens_of(hasty.client.refresh(each.refresh)).access)
    assert {hasty.use(each).status_code for each in running.revoked} == {401}


def test_a_planned_failover_loses_nothing(watched: SentinelSet, hasty: Site) -> None:
    """The old primary makes no change any more before another one is the primary."""
    primary = watched.primary
    with load(hasty) as running:
        running.goes_on()
        watched.hold_changes()
        watched.sentinels[0].ask("SENTINEL", "FAILOVER", "mymaster")
        watched.wait_for_failover(primary)
        running.goes_on()
    assert {hasty.use(each.access).status_code for each in running.kept} <= {200}
    assert {hasty.use(each).status_code for each in running.revoked} == {401}


def test_an_old_primary_that_comes_back_is_not_asked(watched: SentinelSet, hasty: Site) -> None:
    """It takes itself for the primary until a Sentinel tells it; what it knows is out of date."""
    tokens, other = hasty.tokens(), hasty.tokens()
    old = watched.primary
    old.kill()
    watched.wait_for_failover(old)
    until_asked(watched, hasty, tokens.access)
    assert hasty.client.revoke(other.refresh).status_code == 200
    old.start()
    # It is the primary for a moment at the most; in any case no gateway must have asked it.
    while old.is_primary():
        assert hasty.works(tokens.access)
        assert hasty.use(other.access).status_code == 401
    watched.wait_until_in_step()
    assert hasty.works(tokens.access)
    assert hasty.use(other.access).status_code == 401
    assert old.decisions() == 0


def test_a_primary_that_was_cut_off_is_left_though_it_still_answers(
    watched: SentinelSet, hasty: Site
) -> None:
    """It answers this gateway, but no Sentinel and no replica: soon it is not the primary."""
    tokens, other = hasty.tokens(), hasty.tokens()
    old = watched.primary
    watched.cut_off(old)
    assert hasty.works(tokens.access)
    watched.wait_for_failover(old)
    assert until_asked(watched, hasty, tokens.access) < LIMIT
    assert old.is_primary()
    before = old.decisions()
    assert hasty.client.revoke(other.refresh).status_code == 200
    for _ in range(20):
        assert hasty.works(tokens.access)
        assert hasty.use(other.access).status_code == 401
    assert old.decisions() == before


def test_a_failover_may_lose_an_acknowledged_revocation_but_with_wait_none(
    watched: SentinelSet, hasty: Site, careful: Site
) -> None:
    """Asynchronous replication: the primary dies with the changes that no replica had yet."""
    lost, held, refreshed = hasty.tokens(), careful.tokens(), hasty.tokens()
    old = watched.primary
    watched.cut_off(old)
    assert hasty.client.revoke(lost.refresh).status_code == 200
    assert hasty.use(lost.access).status_code == 401
    new = tokens_of(hasty.client.refresh(refreshed.refresh))
    # The repetition finds nothing to take back, and is not acknowledged either.
    for _ in range(2):
        refused = timed(partial(careful.client.revoke, held.refresh))
        assert refused.is_unavailable
        assert refused.seconds < LIMIT
    old.kill()
    watched.wait_for_failover(old)
    assert seconds_until(lambda: hasty.works(lost.access)) < 2 * LIMIT
    # The refresh is lost as well, but that logs nobody out.
    assert hasty.use(new.access).status_code == 401
    assert hasty.works(tokens_of(hasty.client.refresh(new.refresh)).access)
    seconds_until(lambda: careful.client.revoke(held.refresh).status_code == 200)
    assert careful.use(held.access).status_code == 401


def test_with_wait_a_store_out_of_memory_still_takes_revocations(
    watched: SentinelSet, careful: Site
) -> None:
    """A revocation needs no memory, nor does the proof that a replica has it."""
    tokens = careful.tokens()
    primary = watched.primary
    primary.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        assert timed(partial(careful.client.refresh, tokens.refresh)).is_unavailable
        assert careful.client.revoke(tokens.refresh).status_code == 200
        assert careful.client.revoke(tokens.refresh).status_code == 200
        assert careful.use(tokens.access).status_code == 401
    finally:
        primary.ask("CONFIG", "SET", "maxmemory", "0")


def test_with_wait_an_acknowledged_revocation_survives_any_failover(
    watched: SentinelSet, careful: Site
) -> None:
    """Kill -9 among revocations: the acknowledged ones hold, and the others can be repeated."""
    families = [careful.tokens() for _ in range(24)]
    primary = watched.primary
    acknowledged = []
    for number, batch in enumerate(zip(*[iter(families)] * 8, strict=True)):
        if number == 1:
            primary.kill()
        answers = at_once([partial(careful.client.revoke, each.refresh) for each in batch])
        assert all(each.status == 200 or each.is_unavailable for each in answers)
        acknowledged += [
            tokens for tokens, answer in zip(batch, answers, strict=True) if answer.status == 200
        ]
    watched.wait_for_failover(primary)
    until_asked(watched, careful, families[0].access)
    assert len(acknowledged) >= 8
    assert {careful.use(each.access).status_code for each in acknowledged} == {401}
    for each in families:
        seconds_until(partial(lambda each: careful.client.revoke(each.refresh).ok, each))
        assert careful.use(each.access).status_code == 401


def test_a_store_without_a_sentinel_goes_on_with_the_primary_it_has(
    watched: SentinelSet, hasty: Site
) -> None:
    """No request waits for a Sentinel, whether one has died or all three hang."""
    tokens = hasty.tokens()
    for each in watched.sentinels:
        each.pause()
    try:
        started = time.monotonic()
        while time.monotonic() - started < 1.5:
            answer = timed(partial(hasty.use, tokens.access))
            assert answer.status == 200
            assert answer.seconds < LIMIT / 2
    finally:
        for each in watched.sentinels:
            each.resume()
