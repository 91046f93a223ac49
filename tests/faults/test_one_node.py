"""One Redis in every kind of trouble: the client is told to come again, and loses nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.faults.calls import VALIDATION, calls_of
from tests.faults.proxy import Faults, Proxy, proxied
from tests.faults.site import LIMIT, Site, at_once, insisting, seconds_until, site, timed, tokens_of
from tests.faults.topologies import Server, wait_until
from tests.support.store import grant_id, let_pass

#: Names the trouble, how it begins and how it ends.
Trouble = tuple[Callable[[Server, Proxy], None], Callable[[Server, Proxy], None]]


def _faulty(**faults: object) -> Trouble:
    def begin(node: Server, way: Proxy) -> None:
        way.faults = Faults(**faults)  # type: ignore[arg-type]

    return begin, lambda node, way: way.heal()


TROUBLES: dict[str, Trouble] = {
    "stopped": (lambda node, way: node.pause(), lambda node, way: node.resume()),
    "refuses connections": (lambda node, way: way.refuse(), lambda node, way: way.heal()),
    "does not answer to connections": (
        lambda node, way: way.black_hole(),
        lambda node, way: way.heal(),
    ),
    "is half-open": _faulty(silent=True),
    "is slow": _faulty(latency=3.0),
    "sends a byte now and then": _faulty(seconds_a_byte=0.3),
    "resets connections": _faulty(reset=True),
    "breaks off in the middle of an answer": _faulty(cut_after=3),
}


@pytest.fixture(scope="module")
def threaded_way(node: Server) -> Iterator[Proxy]:
    """The way from the wrapped gateway to the server."""
    with proxied(node.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def threaded_site(folder: Path, threaded_way: Proxy) -> Iterator[Site]:
    """A wrapped application under threads, with four connections to the store."""
    url = f"redis://127.0.0.1:{threaded_way.port}"
    with site("wrapped", folder / "wrapped", url, store="connections = 4") as running:
        yield running


def _judge_trouble(node: Server, way: Proxy, site: Site, trouble: Trouble, count: int) -> None:
    tokens, other = site.tokens(), site.tokens()
    code = site.code()
    begin, end = trouble
    begin(node, way)
    try:
        requests_at_once = [
            *[partial(site.use, tokens.access)] * (count - 4),
            *[partial(site.client.refresh, tokens.refresh)] * 2,
            partial(site.client.redeem, code),
            partial(site.client.revoke, other.access),
        ]
        first = at_once(requests_at_once)
        assert {(each.status, each.retry_after) for each in first} == {(503, "1")}
        assert max(each.seconds for each in first) < LIMIT
        # By now the gateway knows that the store is silent: most requests are answered at once.
        second = sorted(each.seconds for each in at_once(requests_at_once[:-3]))
        assert second[len(second) // 2] < LIMIT / 4
        assert second[-1] < LIMIT
    finally:
        end(node, way)
    assert seconds_until(lambda: site.works(tokens.access)) < 2 * LIMIT
    refreshed = tokens_of(insisting(partial(site.client.refresh, tokens.refresh)))
    assert site.works(refreshed.access)
    assert site.works(tokens_of(insisting(partial(site.client.redeem, code))).access)
    assert insisting(partial(site.client.revoke, other.access)).status_code == 200
    assert site.use(other.access).status_code == 401


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_store_in_trouble_costs_a_request_a_second_and_nobody_a_token(
    node: Server, way: Proxy, standalone_site: Site, trouble: str
) -> None:
    """64 requests at once: 503 with Retry-After in time, and after the trouble all is as it was."""
    _judge_trouble(node, way, standalone_site, TROUBLES[trouble], 64)


@pytest.mark.parametrize("trouble", ["stopped", "does not answer to connections"])
def test_so_it_is_under_threads(
    node: Server, threaded_way: Proxy, threaded_site: Site, trouble: str
) -> None:
    _judge_trouble(node, threaded_way, threaded_site, TROUBLES[trouble], 32)


def test_one_lost_reply_is_asked_for_again_unseen(way: Proxy, standalone_site: Site) -> None:
    site = standalone_site
    tokens = site.tokens()
    way.drop_replies(VALIDATION)
    assert site.works(tokens.access)
    way.drop_replies(*calls_of("redeem_code"))
    code = site.code()
    redeemed = tokens_of(site.client.redeem(code))
    way.drop_replies(*calls_of("rotate_refresh"))
    refreshed = tokens_of(site.client.refresh(redeemed.refresh))
    assert site.works(refreshed.access)
    way.drop_replies(*calls_of("revoke_token"))
    assert site.client.revoke(refreshed.refresh).status_code == 200
    assert site.use(refreshed.access).status_code == 401
    assert way.injected >= 4


def test_a_code_whose_answer_was_lost_gives_its_tokens_to_the_next_request_and_only_once(
    way: Proxy, standalone_site: Site
) -> None:
    """The code was redeemed, but the answer got lost: the client's next attempt is no replay."""
    site = standalone_site
    code = site.code()
    way.drop_replies(*calls_of("redeem_code"), times=2)
    assert timed(partial(site.client.redeem, code)).is_unavailable
    tokens = tokens_of(insisting(partial(site.client.redeem, code)))
    assert site.works(tokens.access)
    replay = site.client.redeem(code)
    assert (replay.status_code, replay.json()["error"]) == (400, "invalid_grant")
    assert site.use(tokens.access).status_code == 401


def test_a_code_in_doubt_is_redeemed_once_by_fifty_at_once(
    way: Proxy, standalone_site: Site
) -> None:
    """Of the retries that come all together, one gets the tokens, and the others get none."""
    site = standalone_site
    code = site.code()
    way.drop_replies(*calls_of("redeem_code"), times=2)
    assert timed(partial(site.client.redeem, code)).is_unavailable
    statuses: list[int] = []
    while 200 not in statuses:
        answers = at_once([partial(site.client.redeem, code)] * 50)
        statuses += [each.status for each in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 400, 503}


def test_a_refresh_whose_answer_was_lost_is_no_reuse_however_long_the_store_was_silent(
    way: Proxy, standalone_site: Site
) -> None:
    """The grace time begins when the answer has arrived, not while the store is silent."""
    site = standalone_site
    tokens = site.tokens()
    way.drop_replies(*calls_of("rotate_refresh"), times=2)
    assert timed(partial(site.client.refresh, tokens.refresh)).is_unavailable
    for _ in range(2):
        # The grace time, one second, goes by.
        time.sleep(0.6)
    # 503 until a gateway that had the answer would have said so.
    refresh = partial(site.client.refresh, tokens.refresh)
    answers = [tokens_of(insisting(refresh)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert site.works(answers[0].access)
    for _ in range(2):
        time.sleep(0.6)
    assert site.client.refresh(tokens.refresh).json()["error"] == "invalid_grant"
    assert site.use(answers[0].access).status_code == 401


def test_a_revocation_whose_answer_was_lost_is_not_acknowledged_and_holds(
    way: Proxy, standalone_site: Site
) -> None:
    site = standalone_site
    tokens = site.tokens()
    way.drop_replies(*calls_of("revoke_token"), times=2)
    assert timed(partial(site.client.revoke, tokens.refresh)).is_unavailable
    assert site.use(tokens.access).status_code == 401
    assert site.client.revoke(tokens.refresh).status_code == 200


def test_a_store_that_is_a_little_slow_costs_one_request_a_second_in_all(
    way: Proxy, standalone_site: Site
) -> None:
    """An authorization asks five times; each answer comes in time, all of them do not."""
    site = standalone_site
    site.code()
    way.faults = Faults(latency=0.35)
    try:
        authorization = {
            "client_id": "own-app",
            "response_type": "code",
            "redirect_uri": "https://own.example/cb",
            "scope": "project",
        }
        answer = timed(lambda: site.browser.authorize(**authorization))
    finally:
        way.heal()
    assert answer.is_unavailable
    assert answer.seconds < 1.6
    assert site.code()


def test_out_of_memory_refuses_a_change_before_it_starts(
    node: Server, standalone_site: Site
) -> None:
    """Requests that need no memory go on: tokens are judged, and taken back."""
    site = standalone_site
    tokens, other = site.tokens(), site.tokens()
    code = site.code()
    node.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        assert timed(partial(site.client.redeem, code)).is_unavailable
        assert timed(partial(site.client.refresh, tokens.refresh)).is_unavailable
        assert site.works(tokens.access)
        assert site.client.revoke(other.access).status_code == 200
        assert site.use(other.access).status_code == 401
        assert site.client.revoke(other.refresh).status_code == 200
    finally:
        node.ask("CONFIG", "SET", "maxmemory", "0")
    assert site.works(tokens_of(site.client.redeem(code)).access)
    assert site.works(tokens_of(site.client.refresh(tokens.refresh)).access)


def test_out_of_memory_refuses_a_replay_and_a_reuse_before_they_end_anything(
    node: Server, standalone_site: Site
) -> None:
    """A script that could not finish does not start. It judges them when there is memory again."""
    site = standalone_site
    code = site.code()
    redeemed = tokens_of(site.client.redeem(code))
    rotated = site.tokens()
    refreshed = tokens_of(site.client.refresh(rotated.refresh))
    # The grace time, one second, goes by.
    let_pass(node.redis, grant_id(rotated.refresh), 2)
    replay = partial(site.client.redeem, code)
    reuse = partial(site.client.refresh, rotated.refresh)
    node.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        assert timed(replay).is_unavailable
        assert timed(reuse).is_unavailable
        assert site.works(redeemed.access)
        assert site.works(refreshed.access)
    finally:
        node.ask("CONFIG", "SET", "maxmemory", "0")
    for call, access in ((replay, redeemed.access), (reuse, refreshed.access)):
        assert call().json()["error"] == "invalid_grant"
        assert site.use(access).status_code == 401


def test_flushed_scripts_are_sent_again_unseen(node: Server, standalone_site: Site) -> None:
    site = standalone_site
    code = site.code()
    node.ask("SCRIPT", "FLUSH")
    tokens = tokens_of(site.client.redeem(code))
    node.ask("SCRIPT", "FLUSH")
    assert site.works(tokens_of(site.client.refresh(tokens.refresh)).access)


def test_a_store_that_became_a_replica_refuses_changes_until_it_is_the_primary_again(
    node: Server, standalone_site: Site
) -> None:
    """READONLY, and MASTERDOWN where a replica without its primary answers nothing."""
    site = standalone_site
    tokens = site.tokens()
    code = site.code()
    node.ask("REPLICAOF", "127.0.0.1", 1)
    try:
        assert timed(partial(site.client.refresh, tokens.refresh)).is_unavailable
        assert timed(partial(site.client.redeem, code)).is_unavailable
        assert timed(partial(site.client.revoke, tokens.refresh)).is_unavailable
        node.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
        assert timed(partial(site.use, tokens.access)).is_unavailable
    finally:
        node.ask("CONFIG", "SET", "replica-serve-stale-data", "yes")
        node.ask("REPLICAOF", "NO", "ONE")
    assert site.works(tokens_of(site.client.redeem(code)).access)
    assert site.works(tokens_of(site.client.refresh(tokens.refresh)).access)


def test_a_store_that_is_still_loading_its_data_is_waited_for(
    node: Server, standalone_site: Site
) -> None:
    site = standalone_site
    tokens = site.tokens()
    with node.redis.pipeline(transaction=False) as pipeline:
        for number in range(800):
            pipeline.set(f"filling:{number}", "x")
        pipeline.execute()
    # The server takes a snapshot at the same time; each of its keys takes 5 ms to read.
    node.ask("BGREWRITEAOF")
    wait_until(lambda: not node.redis.info("persistence")["aof_rewrite_in_progress"])
    node.kill()
    node.start(
        "--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024", wait=False
    )
    wait_until(node.is_loading)
    answers = [timed(partial(site.use, tokens.access))]
    assert answers[0].is_unavailable
    while answers[-1].status != 200:
        answers.append(timed(partial(site.use, tokens.access)))
    assert {each.status for each in answers} <= {200, 503}
    assert max(each.seconds for each in answers) < LIMIT
    node.ask("CONFIG", "SET", "key-load-delay", "0")


def test_more_requests_than_connections_wait_a_bounded_time(
    threaded_way: Proxy, threaded_site: Site
) -> None:
    """Sixteen threads, four connections: a request without one in time is told to come again."""
    site = threaded_site
    tokens = site.tokens()
    threaded_way.faults = Faults(latency=0.3)
    try:
        answers = at_once([partial(site.use, tokens.access)] * 16)
    finally:
        threaded_way.heal()
    assert {each.status for each in answers} == {200, 503}
    assert max(each.seconds for each in answers) < LIMIT
    assert threaded_way.open_connections <= 4
    assert {each.status for each in at_once([partial(site.use, tokens.access)] * 16)} == {200}


def test_clients_that_go_away_take_no_connection_with_them(
    threaded_way: Proxy, threaded_site: Site
) -> None:
    site = threaded_site
    tokens = site.tokens()
    threaded_way.faults = Faults(latency=0.2)
    request = f"GET /resource HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tokens.access}\r\n\r\n"
    for _ in range(24):
        with socket.create_connection(("127.0.0.1", site.gateway.port)) as gone:
            gone.sendall(request.encode())
    threaded_way.heal()
    assert seconds_until(lambda: site.works(tokens.access)) < 2 * LIMIT
    assert {each.status for each in at_once([partial(site.use, tokens.access)] * 16)} == {200}
    assert threaded_way.open_connections <= 4


def test_a_crash_of_the_store_loses_nothing_that_was_acknowledged(
    node: Server, standalone_site: Site
) -> None:
    """Kill -9 among changes, and a start on the append-only file; every change fsynced."""
    site = standalone_site
    node.ask("CONFIG", "SET", "appendfsync", "always")
    families = [site.tokens() for _ in range(6)]

    def refresh_until_it_fails(number: int) -> None:
        for _ in range(200):
            response = site.client.refresh(families[number].refresh)
            if response.status_code != 200:
                assert response.status_code == 503
                return
            families[number] = tokens_of(response)

    with ThreadPoolExecutor(6) as threads:
        running = [threads.submit(refresh_until_it_fails, number) for number in range(6)]
        time.sleep(0.5)
        node.kill()
        for refreshing in running:
            refreshing.result()
    node.start()
    wait_until(lambda: site.works(families[0].access))
    for each in families:
        assert site.works(each.access)
        # The crash may have come between the file and the answer: then the token was exchanged,
        # its grace time went by unanswered, and its client is told to come again for a while.
        refreshed = tokens_of(insisting(partial(site.client.refresh, each.refresh)))
        assert site.works(refreshed.access)
