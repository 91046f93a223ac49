"""A repeated change gets the same answer again, and counts once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from gateway.config.settings import Store, Tokens
from gateway.store.rate_limits import AttemptLimit, TooMany
from gateway.store.redis_client import RedisClient, StoreUnavailable
from gateway.token_store import TokenStore
from gateway.tokens.grant import CodeBinding, Grant
from gateway.tokens.token import Kind, TokenKeys, new_grant_id
from tests.faults.calls import calls_of
from tests.faults.proxy import Proxy
from tests.faults.servers import wait_until
from tests.faults.site import Site, site, tokens_of
from tests.faults.topologies import Server, one_node
from tests.support.store import grant_id, let_pass


@pytest.fixture
def link(way: Proxy) -> Iterator[RedisClient]:
    link = RedisClient(Store(url=f"redis://127.0.0.1:{way.port}", timeout=1.0))
    yield link
    way.heal()
    link.close()


def test_an_attempt_whose_count_got_lost_counts_once(way: Proxy, link: RedisClient) -> None:
    limit = AttemptLimit(link, "gateway", "outcome", limit=3, window_seconds=60)
    for _ in range(3):
        way.drop_replies(*calls_of("count_attempt"))
        limit.count("somebody")
    with pytest.raises(TooMany):
        limit.count("somebody")


def _why(site: Site) -> list[str]:
    lines = map(json.loads, site.gateway.audit.read_text().splitlines())
    return [each["why"] for each in lines if each["event"] == "token" and "why" in each]


def test_a_reuse_or_a_replay_whose_answer_got_lost_is_still_one_in_the_audit_log(
    node: Server, way: Proxy, standalone_site: Site
) -> None:
    site = standalone_site
    code = site.code()
    tokens = tokens_of(site.client.redeem(code))
    tokens_of(site.client.refresh(tokens.refresh))
    let_pass(node.redis, grant_id(tokens.refresh), 10)
    way.drop_replies(*calls_of("rotate_refresh"))
    assert site.client.refresh(tokens.refresh).json()["error"] == "invalid_grant"
    assert _why(site)[-1] == "reused"

    code = site.code()
    tokens_of(site.client.redeem(code))
    way.drop_replies(*calls_of("redeem_code"))
    assert site.client.redeem(code).json()["error"] == "invalid_grant"
    assert _why(site)[-1] == "replayed"


def test_waiting_for_another_gateways_word_is_on_the_requests_account(
    way: Proxy, link: RedisClient
) -> None:
    store = TokenStore(link, "gateway", Tokens())
    key = TokenKeys((b"k" * 32,)).newest
    grant = Grant(new_grant_id(), "one", "demo", "project", "file")
    code = key.random(Kind.CODE, grant.grant_id)
    store.open_grant(grant, code, CodeBinding("https://one.example/cb", True, ""))
    redeem = partial(
        store.redeem_code,
        code,
        client_id="one",
        redirect_uri="https://one.example/cb",
        code_challenge="",
        access=key.derived(Kind.ACCESS, code),
        refresh=None,
        next_refresh=None,
    )
    way.drop_replies(*calls_of("redeem_code"), times=2)
    with pytest.raises(StoreUnavailable):
        redeem(request_id="first")
    way.heal()

    link.start_request_budget()
    for _ in range(2):
        link.pause(0.9)
    started = monotonic()
    with pytest.raises(StoreUnavailable):
        redeem(request_id="second")
    # It had 0.2 s of its two seconds left.
    assert monotonic() - started < 1.2


def test_a_store_that_cannot_write_to_its_disk_is_ready_to_judge(folder: Path) -> None:
    """A probe that failed for that would take every gateway out of service."""
    with (
        one_node(folder / "full", "--enable-protected-configs", "yes") as node,
        site("standalone", folder / "full-site", f"redis://127.0.0.1:{node.port}") as found,
    ):
        tokens = found.tokens()
        gone = folder / "gone"
        gone.mkdir()
        node.redis.config_set("save", "3600 1")
        node.redis.config_set("dir", str(gone))
        gone.rmdir()
        node.redis.bgsave()
        wait_until(lambda: node.redis.info("persistence")["rdb_last_bgsave_status"] == "err")

        assert found.works(tokens.access)
        health = found.client.get("/oauth/health", "")
        assert (health.status_code, health.json()["ready"]) == (200, True)
        assert found.client.refresh(tokens.refresh).status_code == 503
