"""The store learns that an answer has arrived: no request waits for it, no loss prevents it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from gateway.clients.registry import Clients
from gateway.config.settings import Client as RegisteredClient
from gateway.config.settings import Store
from gateway.store.redis_client import RedisClient
from tests.faults.calls import calls_of
from tests.faults.proxy import Proxy
from tests.faults.site import Site, insisting, seconds_until, site, timed, tokens_of
from tests.faults.topologies import Server
from tests.support.oauth_client import Client
from tests.support.processes import ROOT, python_module
from tests.support.store import grant_id, grant_key, let_pass

_NOTE = calls_of("note_delivery")
_ENTRY = calls_of("list_in_index")
_REDEEM = calls_of("redeem_code")
_PATIENCE = 5.0
_KEPT_URI = "https://kept.example/cb"


@pytest.fixture(scope="module")
def brief_site(folder: Path, way: Proxy) -> Iterator[Site]:
    """A gateway whose codes live for a second."""
    url = f"redis://127.0.0.1:{way.port}"
    with site("standalone", folder / "brief", url, "code_seconds = 1") as running:
        yield running


def _is_noted(node: Server, token: str) -> bool:
    kept = node.redis.get(grant_key(grant_id(token)))
    assert isinstance(kept, str)
    return "undelivered" not in kept


@pytest.fixture(scope="module")
def patient_site(folder: Path, way: Proxy) -> Iterator[Site]:
    """A gateway that waits long for a reply, if it waits at all."""
    url = f"redis://127.0.0.1:{way.port}"
    with site("standalone", folder / "patient", url, timeout=_PATIENCE) as running:
        yield running


@pytest.fixture(scope="module")
def kept_in_the_store(node: Server, patient_site: Site) -> Client:
    """A client that the gateway reads from the store every time."""
    link = RedisClient(Store(url=f"redis://127.0.0.1:{node.port}", timeout=5.0))
    Clients((), link, "gateway").add(
        RegisteredClient(
            client_id="kept",
            name="Kept",
            redirect_uris=(_KEPT_URI,),
            scopes=("project",),
            pkce="optional",
        )
    )
    link.close()
    return Client(patient_site.gateway.url, "kept", redirect_uri=_KEPT_URI)


def _code(site: Site, client: Client) -> str:
    return site.browser.code(client_id=client.client_id, redirect_uri=client.redirect_uri)


def waits(way: Proxy, site: Site, access: str, request: Callable[[], requests.Response]) -> int:
    """Return for how many replies of the store a request waits.

    ``access`` is a token of an earlier request.
    """
    # On the one connection that is in use, earlier replies come before this one.
    assert site.works(access)
    before = way.replies
    way.hold_requests(*_NOTE, *_ENTRY)
    try:
        answer = timed(request)
        # The replies to the note, and to entries in the indexes, come after heal().
        assert answer.status == 200
        assert answer.seconds < _PATIENCE
        return way.replies - before
    finally:
        way.heal()


def test_a_refresh_waits_twice_for_the_store_at_most(
    way: Proxy, patient_site: Site, kept_in_the_store: Client
) -> None:
    """To read the client, if it is kept there, and to exchange the token."""
    site = patient_site
    for client, asked in ((site.client, 0), (kept_in_the_store, 1)):
        first = tokens_of(client.redeem(_code(site, client)))
        second = tokens_of(client.refresh(first.refresh))
        for token in (second.refresh, first.refresh):
            refresh = partial(client.refresh, token)
            assert waits(way, site, second.access, refresh) == asked + 1


def test_a_code_exchange_waits_twice_for_the_store_at_most(
    way: Proxy, patient_site: Site, kept_in_the_store: Client
) -> None:
    site = patient_site
    for client, asked in ((site.client, 0), (kept_in_the_store, 1)):
        access = tokens_of(client.redeem(_code(site, client))).access
        redeem = partial(client.redeem, _code(site, client))
        assert waits(way, site, access, redeem) == asked + 1


def test_a_note_arrives_where_its_gateway_ends_at_once(node: Server, folder: Path) -> None:
    """The note does not wait in the memory of a process that may be killed."""
    for _ in range(5):
        ended = subprocess.run(
            python_module("tests.faults.short_life", f"redis://127.0.0.1:{node.port}"),
            stdout=subprocess.PIPE,
            cwd=ROOT,
            timeout=20,
            check=False,
        )
        assert ended.returncode == -signal.SIGKILL
        seconds_until(partial(_is_noted, node, ended.stdout.decode().strip()))


def test_a_note_that_got_lost_is_sent_until_it_arrives(
    node: Server, way: Proxy, standalone_site: Site
) -> None:
    """The client has its tokens; from then on its code is spent, as any other."""
    site = standalone_site
    code = site.code()
    way.lose_requests(*_NOTE, times=1000)
    try:
        tokens = tokens_of(site.client.redeem(code))
        assert not _is_noted(node, tokens.access)
    finally:
        way.heal()
    seconds_until(lambda: _is_noted(node, tokens.access))
    replay = site.client.redeem(code)
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert site.use(tokens.access).status_code == 401


def test_a_store_that_is_out_of_memory_takes_a_note(
    node: Server, way: Proxy, standalone_site: Site
) -> None:
    """The tokens were given while there was memory. The note needs no more of it."""
    site = standalone_site
    code = site.code()
    way.lose_requests(*_NOTE, times=1000)
    try:
        tokens = tokens_of(site.client.redeem(code))
        node.ask("CONFIG", "SET", "maxmemory", "1mb")
        assert timed(partial(site.client.refresh, tokens.refresh)).is_unavailable
        assert not _is_noted(node, tokens.access)
        way.heal()
        seconds_until(lambda: _is_noted(node, tokens.access))
    finally:
        way.heal()
        node.ask("CONFIG", "SET", "maxmemory", "0")
    replay = site.client.redeem(code)
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert site.use(tokens.access).status_code == 401


def test_a_replay_that_comes_before_the_note_waits_for_it(
    way: Proxy, standalone_site: Site
) -> None:
    """The store is back, and the gateway that gave the tokens has not said so yet."""
    site = standalone_site
    code = site.code()
    way.lose_requests(*_NOTE, times=1000)
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
    way.lose_requests(*_NOTE, times=1000)
    try:
        refreshed = tokens_of(site.client.refresh(tokens.refresh))
        answered = time.monotonic()
        time.sleep(0.5)
        assert not _is_noted(node, refreshed.access)
    finally:
        way.heal()
    seconds_until(lambda: _is_noted(node, refreshed.access))
    # The grace time, one second, goes by: the note did not begin it anew.
    while time.monotonic() < answered + 1.05:
        time.sleep(0.05)
    assert site.client.refresh(tokens.refresh).json()["error"] == "invalid_grant"
    assert site.use(refreshed.access).status_code == 401


def test_a_code_whose_answer_was_lost_does_not_outlive_itself(
    node: Server, way: Proxy, brief_site: Site
) -> None:
    """The grant keeps a used code as long as it has tokens, only to recognise a replay."""
    site = brief_site
    code = site.code()
    way.drop_replies(*_REDEEM, times=2)
    assert timed(partial(site.client.redeem, code)).is_unavailable
    let_pass(node.redis, grant_id(code), 3)
    refused = site.client.redeem(code)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
