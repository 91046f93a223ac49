"""Kill -9 among requests: of a worker, of the gateway, of its embedded store, of all at once.

The operating system has a change that the store acknowledged and has not fsynced yet, so the
change survives a kill. But with ``everysec`` a server whose last fsync is slow may hold a change
back for a moment. So these tests let the server fsync each change before they kill it, and the
speed of the disk does not matter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from redis import Redis

from gateway.store import supervisor as store_keeper
from tests.faults.load import Load, load
from tests.faults.servers import wait_until
from tests.faults.site import Site, insisting, tokens_of
from tests.support.oauth_client import Browser, Client
from tests.support.processes import ROOT, end, free_port, python_module, running
from tests.support.running_gateway import RunningGateway, write_settings

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the workers are found as only Linux shows them"
)

_ROUNDS = 3
_START_SECONDS = 20.0


@dataclass
class Crashing:
    """A standalone gateway with two workers and an embedded store, to be killed and restarted."""

    gateway: RunningGateway
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start the gateway, as often as a service manager would, until it is ready."""
        deadline = time.monotonic() + _START_SECONDS
        # Workers that lost their master may still listen for a moment.
        while not self._starts():
            assert time.monotonic() < deadline, self.gateway.log.read_text()
            time.sleep(0.1)

    def _starts(self) -> bool:
        with self.gateway.log.open("ab") as log:
            self.process = subprocess.Popen(
                python_module("gateway", "serve", "--config", str(self.gateway.config)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        wait_until(lambda: self._has_ended() or self.workers())
        wait_until(lambda: self._has_ended() or _answers(self.gateway.url))
        return not self._has_ended()

    def _has_ended(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def workers(self) -> list[int]:
        """Return the processes that serve."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        with suppress(FileNotFoundError):
            return [int(each) for each in children.read_text().split()]
        return []

    def kill_worker(self) -> None:
        """Kill one worker, and wait until there is another."""
        before = self.workers()
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: len(set(self.workers()) - {before[0]}) == len(before))

    def kill_gateway(self, *, workers: bool) -> None:
        """Kill the master, and with it the workers or not; start it again."""
        assert self.process is not None
        victims = [self.process.pid, *(self.workers() if workers else ())]
        for each in victims:
            os.kill(each, signal.SIGKILL)
        self.process.wait(10)

    @property
    def store(self) -> Redis:
        """A connection to the store beside the gateway's."""
        return Redis(
            unix_socket_path=str(self.gateway.data_dir / store_keeper.SOCKET),
            socket_timeout=5,
            decode_responses=True,
        )

    def kill_store(self, *, keeper: bool = False) -> None:
        """Kill the server, and before it the keeper that would start it again, or not."""
        with self.store as store:
            store.config_set("appendfsync", "always")
            # This change takes all earlier changes to the disk. A change of the load would not do:
            # it may be acknowledged now, and have been made before.
            store.incr("changes of the test")
            server = store.info("server")["process_id"]
        if keeper:
            os.kill(int((self.gateway.data_dir / store_keeper.SUPERVISOR_LOCK).read_text()), 9)
        # Where it ended with its keeper, that was a kill as well.
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGKILL)


def _answers(url: str) -> bool:
    with suppress(OSError):
        return Client(url).get("/oauth/health", "").status_code == 200
    return False


@pytest.fixture(scope="module")
def crashing(folder: Path) -> Iterator[Crashing]:
    port, upstream_port = free_port(), free_port()
    upstream = f"http://127.0.0.1:{upstream_port}"
    config = write_settings(
        folder,
        port=port,
        upstream=upstream,
        replace=(("timeout = 5.0", "timeout = 0.5"), ("workers = 1", "workers = 2")),
    )
    gateway = RunningGateway(
        "standalone",
        f"http://127.0.0.1:{port}",
        config,
        folder / "data",
        folder / "audit.log",
        folder / "gateway.log",
    )
    found = Crashing(gateway)
    with running(
        python_module("tests.support.echo", str(upstream_port)),
        log=folder / "echo.log",
        ready=upstream,
    ):
        try:
            found.start()
            yield found
        finally:
            if found.process is not None:
                end(found.process)


@pytest.fixture(scope="module")
def site(crashing: Crashing) -> Site:
    browser = Browser(crashing.gateway.url)
    assert browser.sign_in().status_code == 303
    client = Client(crashing.gateway.url, "own-app", redirect_uri="https://own.example/cb")
    return Site(crashing.gateway, browser, client)


def judge_what_was_acknowledged(site: Site, load: Load) -> None:
    """Judge that every grant is there, and every revocation.

    The load went on with one of the workers; the other may still tell clients to come again.
    """

    def status(access: str) -> int:
        return insisting(partial(site.use, access)).status_code

    assert len(load.kept) > 0
    for each in load.kept:
        assert status(each.access) == 200
        refreshed = tokens_of(insisting(partial(site.client.refresh, each.refresh)))
        assert status(refreshed.access) == 200
    assert {status(each) for each in load.revoked} == {401}


def test_killed_workers_take_their_requests_with_them_and_nothing_else(
    crashing: Crashing, site: Site
) -> None:
    with load(site, breaks_off=True) as running:
        for _ in range(_ROUNDS):
            running.goes_on()
            crashing.kill_worker()
        running.goes_on()
    judge_what_was_acknowledged(site, running)


@pytest.mark.parametrize("keeper", [False, True], ids=["alone", "with its keeper"])
def test_a_store_killed_again_and_again_comes_back_with_all_it_acknowledged(
    crashing: Crashing, site: Site, keeper: bool
) -> None:
    with load(site) as running:
        for _ in range(_ROUNDS):
            running.goes_on()
            crashing.kill_store(keeper=keeper)
        running.goes_on()
    judge_what_was_acknowledged(site, running)


@pytest.mark.parametrize("workers", [False, True], ids=["alone", "with its workers"])
def test_a_gateway_killed_again_and_again_finds_its_store_as_it_left_it(
    crashing: Crashing, site: Site, workers: bool
) -> None:
    with load(site, breaks_off=True) as running:
        for _ in range(_ROUNDS):
            running.goes_on()
            crashing.kill_gateway(workers=workers)
            crashing.start()
        running.goes_on()
    judge_what_was_acknowledged(site, running)


def test_all_killed_at_once_come_back_with_all_that_was_acknowledged(
    crashing: Crashing, site: Site
) -> None:
    """As when the machine's memory runs out for good: no process is left to tidy up."""
    with load(site, breaks_off=True) as running:
        for _ in range(_ROUNDS):
            running.goes_on()
            crashing.kill_store(keeper=True)
            crashing.kill_gateway(workers=True)
            crashing.start()
        running.goes_on()
    judge_what_was_acknowledged(site, running)
