"""On a cluster: slots that move, primaries that die, and indexes beside the grants."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from tests.faults.load import load
from tests.faults.site import (
    LIMIT,
    Answer,
    Site,
    Tokens,
    at_once,
    seconds_until,
    site,
    timed,
    tokens_of,
)
from tests.faults.topologies import ClusterSet, Server, cluster, slot_of, wait_until
from tests.support.oauth_client import Browser, Client
from tests.support.processes import ROOT, python_module
from tests.support.running_gateway import running_gateway
from tests.support.store import grant_id, grant_key, keys_of

#: Seconds: twice ``store.timeout`` of the patient gateway, which nothing here should need.
PATIENCE = 10.0


@pytest.fixture(scope="module")
def nodes(folder: Path) -> Iterator[ClusterSet]:
    """Three primaries that share the slots, and a node that has none."""
    with cluster(folder / "cluster", primaries=3, empty=1) as running:
        yield running


@pytest.fixture(scope="module")
def spread(folder: Path, nodes: ClusterSet) -> Iterator[Site]:
    """A gateway on the cluster."""
    with site("standalone", folder / "spread", nodes.url) as running:
        yield running


@pytest.fixture(scope="module")
def patient(folder: Path, nodes: ClusterSet) -> Iterator[Site]:
    """A gateway that waits for a slot longer than a busy machine takes to move it."""
    with running_gateway("standalone", folder / "patient", store=nodes.url) as gateway:
        browser = Browser(gateway.url)
        assert browser.sign_in().status_code == 303
        client = Client(gateway.url, "own-app", redirect_uri="https://own.example/cb")
        yield Site(gateway, browser, client)


def owner_of(nodes: ClusterSet, token: str) -> Server:
    """Return the node that has a token's grant."""
    return nodes.owner(slot_of(grant_id(token)))


def tokens_at(nodes: ClusterSet, site: Site, node: Server) -> Tokens:
    """Return tokens of a new grant that is on ``node``."""
    for _ in range(200):
        tokens = site.tokens()
        if owner_of(nodes, tokens.access) is node:
            return tokens
    raise AssertionError("no grant comes to this node")


def command(site: Site, *words: str) -> list[str]:
    """Run the command ``gateway`` beside the gateway; return the lines that it printed."""
    done = subprocess.run(
        python_module("gateway", *words, "--config", str(site.gateway.config)),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_key_of_a_grant_is_in_one_slot_and_grants_are_everywhere(
    nodes: ClusterSet, spread: Site
) -> None:
    """The whole life: each of its changes is one script on one node."""
    used: set[int] = set()
    while len(used) < 3:
        tokens = tokens_of(spread.client.refresh(spread.tokens().refresh))
        assert spread.works(tokens.access)
        grant = grant_id(tokens.access)
        having = [each for each in nodes.nodes if keys_of(each.redis, grant)]
        assert having == [nodes.owner(slot_of(grant))]
        kept = keys_of(having[0].redis, grant)
        # The access tokens of the redemption and of the refresh are in it as well.
        assert len(kept) == 1
        assert {having[0].ask("CLUSTER", "KEYSLOT", key) for key in kept} == {slot_of(grant)}
        used.add(having[0].port)
        assert spread.client.revoke(tokens.refresh).status_code == 200
        assert spread.use(tokens.access).status_code == 401


def test_a_slot_that_moved_is_found_again_and_its_new_place_remembered(
    nodes: ClusterSet, patient: Site
) -> None:
    source, target = nodes.nodes[0], nodes.nodes[1]
    tokens = tokens_at(nodes, patient, source)
    slot = slot_of(grant_id(tokens.access))
    before = {name: source.errors(name) for name in ("ASK", "MOVED")}
    nodes.begin_move(slot, target)
    assert patient.works(tokens.access)
    nodes.move_keys(slot, target)
    assert patient.works(tokens.access)
    assert source.errors("ASK") > before["ASK"]
    nodes.end_move(slot, target)
    assert patient.works(tokens.access)
    assert source.errors("MOVED") > before["MOVED"]
    settled = source.errors("MOVED")
    assert patient.works(tokens_of(patient.client.refresh(tokens.refresh)).access)
    assert source.errors("MOVED") == settled
    nodes.move_slot(slot, source)


def redirections(nodes: ClusterSet) -> int:
    """Count how often a node had to say that a grant is elsewhere, or on its way."""
    return sum(each.errors(name) for each in nodes.nodes for name in ("ASK", "TRYAGAIN", "MOVED"))


def test_resharding_under_load_reaches_no_client(nodes: ClusterSet, patient: Site) -> None:
    """Slots with grants in use go to another node, to one that is new, and back."""
    empty = nodes.nodes[3]
    before = redirections(nodes)
    families = [patient.tokens() for _ in range(6)]
    slots = [slot_of(grant_id(each.access)) for each in families]
    homes = [nodes.owner(slot) for slot in slots]
    stop = Event()
    answers: list[Answer] = []

    def keep_using(number: int) -> None:
        while not stop.is_set():
            answers.append(timed(partial(patient.use, families[number].access)))
            families[number] = tokens_of(patient.client.refresh(families[number].refresh))

    with load(patient, clients=2, limit=PATIENCE) as running, ThreadPoolExecutor(6) as threads:
        using = [threads.submit(keep_using, number) for number in range(6)]
        try:
            for slot, home in zip(slots, homes, strict=True):
                other = nodes.nodes[(nodes.nodes.index(home) + 1) % 3]
                for target in (other, empty, home):
                    nodes.move_slot(slot, target)
        finally:
            stop.set()
        for each in using:
            each.result()
        running.goes_on()
    assert {each.status for each in answers} == {200}
    assert running.unavailable == 0
    assert redirections(nodes) > before


def test_a_third_of_the_slots_goes_to_a_new_node_at_once_and_reaches_no_client(
    nodes: ClusterSet, patient: Site
) -> None:
    """As Valkey 9 moves slots: all of them change hands in one moment."""
    source, new = nodes.nodes[0], nodes.nodes[3]
    if source.ask("COMMAND", "INFO", "CLUSTER|MIGRATESLOTS") == [None]:
        pytest.skip("this server moves one key after the other")
    kept = tokens_at(nodes, patient, source)
    with load(patient, limit=PATIENCE) as running:
        running.goes_on()
        nodes.move_slots(source, new)
        try:
            running.goes_on()
            before = new.decisions()
            assert patient.works(kept.access)
            assert new.decisions() > before
        finally:
            nodes.move_slots(new, source)
        running.goes_on()
    assert running.unavailable == 0
    assert patient.works(tokens_of(patient.client.refresh(kept.refresh)).access)


@pytest.mark.parametrize("trouble", ["killed", "hangs"])
def test_the_slots_of_a_dead_primary_alone_are_out_of_reach(
    nodes: ClusterSet, spread: Site, trouble: str
) -> None:
    """Its grants are 503, in time; other grants notice nothing; it comes back with its own."""
    dying = nodes.nodes[2]
    own = tokens_at(nodes, spread, dying)
    others = [tokens_at(nodes, spread, each) for each in nodes.nodes[:2]]
    begin, end = (dying.kill, dying.start) if trouble == "killed" else (dying.pause, dying.resume)
    begin()
    try:
        for _ in range(2):
            answers = at_once(
                [partial(spread.use, own.access), partial(spread.client.refresh, own.refresh)] * 8
            )
            assert all(each.is_unavailable for each in answers)
            assert max(each.seconds for each in answers) < LIMIT
            for other in others:
                answers = at_once([partial(spread.use, other.access)] * 8)
                assert {each.status for each in answers} == {200}
        others = [tokens_of(spread.client.refresh(each.refresh)) for each in others]
        # A gateway that serves the other grants is ready, and says so.
        probes = [spread.browser.get("/oauth/health").status_code for _ in range(20)]
        assert probes.count(200) >= 18, probes
    finally:
        end()
    seconds_until(lambda: spread.works(own.access))
    nodes.wait_until_whole()
    for each in (own, *others):
        assert spread.works(tokens_of(spread.client.refresh(each.refresh)).access)


def is_down(node: Server) -> bool:
    return "cluster_state:fail" in node.ask("CLUSTER", "INFO")


def test_a_cluster_that_wants_all_its_slots_is_waited_for(nodes: ClusterSet, spread: Site) -> None:
    """CLUSTERDOWN from nodes that are well: 503, until the last one is back."""
    # The death of a node changes nothing if the others take it for dead already.
    nodes.wait_until_whole()
    dying, living = nodes.nodes[2], nodes.nodes[:2]
    tokens = [tokens_at(nodes, spread, each) for each in living]
    for each in living:
        each.ask("CONFIG", "SET", "cluster-require-full-coverage", "yes")
    dying.kill()
    try:
        for each in living:
            wait_until(partial(is_down, each))
        for given in tokens:
            answer = timed(partial(spread.client.refresh, given.refresh))
            assert answer.is_unavailable
            assert answer.seconds < LIMIT
    finally:
        dying.start()
        for each in living:
            each.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    nodes.wait_until_whole()
    for given in tokens:
        seconds_until(partial(spread.works, given.access))
        assert spread.works(tokens_of(spread.client.refresh(given.refresh)).access)


def test_a_replica_is_asked_only_when_it_is_the_primary(folder: Path) -> None:
    """The cluster's own failover: 503 for the slots of the dead one until then."""
    with cluster(folder / "replicated", primaries=3, empty=1) as nodes:
        primary, replica = nodes.nodes[2], nodes.nodes[3]
        replica.ask("CLUSTER", "REPLICATE", nodes.node_id(primary))
        wait_until(lambda: replica.redis.info("replication")["master_link_status"] == "up")
        with site("standalone", folder / "replicated-site", nodes.url) as running:
            tokens = tokens_at(nodes, running, primary)
            revoked = tokens_at(nodes, running, primary)
            assert running.client.revoke(revoked.refresh).status_code == 200
            assert running.works(tokens.access)
            assert replica.decisions() == 0
            wait_until(
                lambda: (
                    replica.redis.info("replication")["slave_repl_offset"]
                    >= primary.redis.info("replication")["master_repl_offset"]
                )
            )
            primary.kill()
            answers: list[Answer] = []
            while not (answers and answers[-1].status == 200):
                answers.append(timed(partial(running.use, tokens.access)))
            assert all(each.is_unavailable for each in answers[:-1])
            assert max(each.seconds for each in answers) < LIMIT
            assert running.works(tokens_of(running.client.refresh(tokens.refresh)).access)
            assert running.use(revoked.access).status_code == 401
            assert replica.decisions() > 0


def grants_of_demo(site: Site) -> set[str]:
    """Return the ids of the user's grants as the command lists them."""
    return {line.split("\t")[0] for line in command(site, "grant", "list", "--user", "demo")}


def test_a_listed_grant_that_is_gone_is_dropped(nodes: ClusterSet, spread: Site) -> None:
    """As after a node lost its data: a list has no grant that cannot be used."""
    tokens, gone = spread.tokens(), spread.tokens()
    owner_of(nodes, gone.access).ask("DEL", grant_key(grant_id(gone.access)))
    listed = grants_of_demo(spread)
    assert grant_id(tokens.access) in listed
    assert grant_id(gone.access) not in listed
    index = "gateway:grants-of-user:demo"
    entries = nodes.owner(slot_of(index)).ask("ZRANGE", index, 0, -1)
    assert grant_id(tokens.access) in entries
    assert grant_id(gone.access) not in entries


def test_a_live_grant_that_is_missing_is_listed_after_one_repair(
    nodes: ClusterSet, spread: Site
) -> None:
    """As after a failover that kept the grant and lost its entries; each node has some."""
    live = [tokens_at(nodes, spread, each) for each in nodes.nodes[:3]]
    for each in live:
        grant = grant_id(each.access)
        for index in (
            "gateway:grants-of-user:demo",
            f"gateway:grants-of-client:{grant[0]}:own-app",
            "gateway:codes-of-user:demo",
            "gateway:codes-of-client:own-app",
        ):
            assert nodes.owner(slot_of(index)).ask("ZREM", index, grant) == 1
    missing = {grant_id(each.access) for each in live}
    assert not missing & grants_of_demo(spread)
    (said,) = command(spread, "grant", "repair")
    assert said.startswith("listed ")
    assert missing <= grants_of_demo(spread)
    command(spread, "grant", "revoke", "--client", "own-app")
    assert {spread.use(each.access).status_code for each in live} == {401}


def test_clients_and_grants_are_managed_across_the_nodes(nodes: ClusterSet, spread: Site) -> None:
    redirect_uri = "https://new.example/cb"
    command(
        spread,
        *("client", "add", "new-app", "--public", "--pkce", "optional", "--skip-consent"),
        *("--redirect-uri", redirect_uri, "--scope", "project"),
    )
    assert any(line.startswith("new-app\tstore") for line in command(spread, "client", "list"))
    client = Client(spread.gateway.url, "new-app", redirect_uri=redirect_uri)
    given: list[Tokens] = []
    while len({owner_of(nodes, each.access).port for each in given}) < 3:
        code = spread.browser.code(client_id="new-app", redirect_uri=redirect_uri)
        given.append(tokens_of(client.redeem(code)))
    assert len(command(spread, "grant", "list", "--client", "new-app")) == len(given)
    (said,) = command(spread, "client", "remove", "new-app")
    assert said == f"removed new-app; ended {len(given)} grants"
    assert {spread.use(each.access).status_code for each in given} == {401}
    assert command(spread, "grant", "list", "--client", "new-app") == []


def test_each_node_that_can_lose_grants_is_named(folder: Path, nodes: ClusterSet) -> None:
    """The command names them. The probe answers everybody, and so names no node."""
    evicting, forgetting = nodes.nodes[:2]
    evicting.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    forgetting.ask("CONFIG", "SET", "appendonly", "no")
    try:
        with site("standalone", folder / "warned", nodes.url) as running:
            lines = command(running, "check", "--store")
            warnings = running.browser.get("/oauth/health").json()["warnings"]
    finally:
        evicting.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        forgetting.ask("CONFIG", "SET", "appendonly", "yes")
    said = [line for line in lines if line.startswith("warning: ")]
    assert len(said) == 2
    (eviction,) = [line for line in said if f"127.0.0.1:{evicting.port}" in line]
    (persistence,) = [line for line in said if f"127.0.0.1:{forgetting.port}" in line]
    assert "allkeys-lru" in eviction
    assert "appendonly" in persistence
    assert lines[-1] == "the store answers. 2 warnings."
    assert len(warnings) == 2
    assert not any(str(each.port) in text for each in nodes.nodes for text in warnings)
