"""Alive, ready, and neither: what orchestrators and clients are told while the store is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from time import monotonic, sleep

import pytest
import requests

from gateway.store.embedded import find_server
from gateway.tokens.token import Kind, TokenKeys, new_grant_id, new_secret
from tests.support.oauth_client import Client
from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import SERVICE_SECRET, RunningGateway, write_settings

SECRET_KEY = b"a secret key for tests that is long enough"
#: What [store] timeout promises in all, twice 0.5 s, and what a busy machine adds.
BOUND_SECONDS = 2.0


@dataclass(frozen=True)
class WithoutStore:
    """A gateway whose store is not there, and what is needed to start it."""

    url: str
    store_port: int
    gateway: Popen[bytes]
    folder: Path

    @contextmanager
    def store(self) -> Iterator[None]:
        """Run a store where the gateway looks for one."""
        command = [find_server(), "--port", str(self.store_port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        with (self.folder / "store.log").open("ab") as log, Popen(command, stdout=log) as process:
            try:
                yield
            finally:
                process.terminate()

    def get(self, path: str, token: str | None = None) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return requests.get(self.url + path, headers=headers, timeout=10)


@pytest.fixture(scope="module")
def without_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WithoutStore]:
    folder = tmp_path_factory.mktemp("health")
    port, store_port, backend_port = free_port(), free_port(), free_port()
    backend = f"http://127.0.0.1:{backend_port}"
    config = write_settings(
        folder,
        port=port,
        upstream=backend,
        store=f"redis://127.0.0.1:{store_port}",
        replace=(("timeout = 5.0", "timeout = 0.5"),),
    )
    url = f"http://127.0.0.1:{port}"
    with (
        running(
            python_module("tests.support.echo", str(backend_port)),
            log=folder / "echo.log",
            ready=backend,
        ),
        running(
            python_module("gateway", "serve", "--config", str(config)),
            log=folder / "gateway.log",
            ready=f"{url}/oauth/health/live",
        ) as process,
    ):
        yield WithoutStore(url, store_port, process, folder)


def well_formed_token() -> str:
    """Return an access token that only the store can tell from a good one."""
    return TokenKeys((SECRET_KEY,)).newest.random(Kind.ACCESS, new_grant_id()).text


def test_a_gateway_with_its_store_is_alive_and_ready(gateway: RunningGateway) -> None:
    for path in ("/oauth/health", "/oauth/health/live", "/oauth/health/ready"):
        answer = requests.get(gateway.url + path, timeout=10)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert requests.head(gateway.url + path, timeout=10).status_code == 200
        assert requests.post(gateway.url + path, timeout=10).status_code == 405


def test_a_gateway_starts_without_its_store_and_is_alive_but_not_ready(
    without_store: WithoutStore,
) -> None:
    live = without_store.get("/oauth/health/live")
    assert (live.status_code, live.json()) == (200, {"live": True})
    for path in ("/oauth/health", "/oauth/health/ready"):
        started = monotonic()
        answer = without_store.get(path)
        assert answer.status_code == 503
        assert answer.json() == {"live": True, "ready": False, "store": "unavailable"}
        assert monotonic() - started < BOUND_SECONDS


def test_without_the_store_nobody_is_told_that_a_token_is_bad(without_store: WithoutStore) -> None:
    started = monotonic()
    answer = without_store.get("/resource", well_formed_token())
    assert monotonic() - started < BOUND_SECONDS
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "WWW-Authenticate" not in answer.headers
    assert answer.json()["error"] == "temporarily_unavailable"


def test_what_needs_no_store_is_answered_without_it(without_store: WithoutStore) -> None:
    """A public route; no token; and a token that this gateway never made."""
    assert without_store.get("/public/page").status_code == 200
    assert without_store.get("/resource").status_code == 401
    assert without_store.get("/resource", "made-up").status_code == 401


def test_the_pages_and_the_token_endpoint_are_unavailable_too(without_store: WithoutStore) -> None:
    service = Client(without_store.url, "service", SERVICE_SECRET)
    refused = service.post("/oauth/token", {"grant_type": "client_credentials"})
    assert (refused.status_code, refused.json()["error"]) == (503, "temporarily_unavailable")
    page = requests.get(
        f"{without_store.url}/oauth/applications",
        cookies={"gateway_session": new_secret()},
        allow_redirects=False,
        timeout=10,
    )
    assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert int(page.headers["Retry-After"]) > 0
    assert "Please try again" in page.text


def test_a_gateway_is_ready_as_soon_as_its_store_is_there(without_store: WithoutStore) -> None:
    """The same process, and with the right answers; and again after the store was away."""
    service = Client(without_store.url, "service", SERVICE_SECRET)
    for _ in range(2):
        assert without_store.get("/oauth/health/ready").status_code == 503
        with without_store.store():
            _until_ready(without_store)
            assert without_store.get("/resource", well_formed_token()).status_code == 401
            issued = service.post("/oauth/token", {"grant_type": "client_credentials"})
            assert issued.status_code == 200
            assert service.get("/resource", issued.json()["access_token"]).status_code == 200
    assert without_store.gateway.poll() is None
    log = (without_store.folder / "gateway.log").read_text()
    assert "the store gave no answer" in log
    assert "Traceback" not in log


def _until_ready(gateway: WithoutStore) -> None:
    deadline = monotonic() + 10
    while gateway.get("/oauth/health/ready").status_code != 200:
        assert monotonic() < deadline, "the store is there, and the gateway is not ready"
        sleep(0.05)
