"""What was answered is known to the store, also where the note of it gets lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway.redis_link import script
from tests.faults.proxy import Proxy
from tests.faults.site import Site, insisting, seconds_until, site, timed, tokens_of
from tests.faults.topologies import Server

_NOTE = script("note_delivery").sha1.encode()
_REDEEM = script("redeem_code").sha1.encode()


@pytest.fixture(scope="module")
def brief_site(folder: Path, way: Proxy) -> Iterator[Site]:
    """A gateway whose codes live for a second."""
    url = f"redis://127.0.0.1:{way.port}"
    with site("standalone", folder / "brief", url, "code_seconds = 1") as running:
        yield running


def _is_noted(node: Server, token: str) -> bool:
    grant_id = token.partition("_")[2][:20]
    return "undelivered" not in str(node.redis.get(f"gateway:{{{grant_id}}}"))


def test_a_note_that_got_lost_is_sent_until_it_arrives(
    node: Server, way: Proxy, standalone_site: Site
) -> None:
    """The client has its tokens; from then on its code is spent, as every other one."""
    site = standalone_site
    code = site.code()
    way.lose_requests(_NOTE, times=1000)
    try:
        tokens = tokens_of(site.client.redeem(code))
        assert not _is_noted(node, tokens.access)
    finally:
        way.heal()
    seconds_until(lambda: _is_noted(node, tokens.access))
    replay = site.client.redeem(code)
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert site.use(tokens.access).status_code == 401


def test_a_replay_that_comes_before_the_note_waits_for_it(
    way: Proxy, standalone_site: Site
) -> None:
    """The store is back, and the gateway that gave the tokens has not said so yet."""
    site = standalone_site
    code = site.code()
    way.lose_requests(_NOTE, times=1000)
    try:
        tokens = tokens_of(site.client.redeem(code))
    finally:
        way.heal()
    replay = insisting(partial(site.client.redeem, code))
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert site.use(tokens.access).status_code == 401


def test_the_grace_time_runs_from_the_answer_also_where_the_note_came_later(
    node: Server, way: Proxy, standalone_site: Site
) -> None:
    site = standalone_site
    tokens = site.tokens()
    way.lose_requests(_NOTE, times=1000)
    try:
        refreshed = tokens_of(site.client.refresh(tokens.refresh))
        answered = time.monotonic()
        time.sleep(0.5)
        assert not _is_noted(node, refreshed.access)
    finally:
        way.heal()
    seconds_until(lambda: _is_noted(node, refreshed.access))
    # The grace time, one second, goes by; the note alone did not begin it anew.
    while time.monotonic() < answered + 1.05:
        time.sleep(0.05)
    assert site.client.refresh(tokens.refresh).json()["error"] == "invalid_grant"
    assert site.use(refreshed.access).status_code == 401


def test_a_code_whose_answer_was_lost_does_not_outlive_itself(way: Proxy, brief_site: Site) -> None:
    """The grant remembers its code for as long as it has tokens; that must not make it one."""
    site = brief_site
    code = site.code()
    way.drop_replies(_REDEEM, times=2)
    assert timed(partial(site.client.redeem, code)).is_unavailable
    for _ in range(3):
        time.sleep(0.8)
    refused = site.client.redeem(code)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
