"""One gateway and one backend for the session, and each proxy between them that is installed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.forward_auth.backend import RecordingBackend
from tests.forward_auth.gateways import running_example
from tests.forward_auth.proxies import KINDS, RunningProxy
from tests.forward_auth.relay import Relay
from tests.support.oauth_client import Browser, Client
from tests.support.running_gateway import RunningGateway


@pytest.fixture(scope="session")
def backend() -> Iterator[RecordingBackend]:
    """The backend behind every proxy."""
    with RecordingBackend() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def decider(
    tmp_path_factory: pytest.TempPathFactory, backend: RecordingBackend
) -> Iterator[RunningGateway]:
    """The gateway that the proxies ask."""
    folder = tmp_path_factory.mktemp("decider")
    with running_example(folder, backend=backend.port) as started:
        yield started


@pytest.fixture(scope="session")
def storeless(
    tmp_path_factory: pytest.TempPathFactory, backend: RecordingBackend
) -> Iterator[RunningGateway]:
    """A gateway whose store does not answer."""
    folder = tmp_path_factory.mktemp("storeless")
    store = "redis://127.0.0.1:9/0"
    with running_example(folder, backend=backend.port, store=store) as started:
        yield started


@pytest.fixture(scope="session")
def relay(decider: RunningGateway) -> Iterator[Relay]:
    """What stands between the proxies and the gateway, and listens."""
    between = Relay(decider.port)
    yield between
    between.close()


@pytest.fixture(scope="session")
def _proxies(
    tmp_path_factory: pytest.TempPathFactory, relay: Relay, backend: RecordingBackend
) -> Iterator[object]:
    with ExitStack() as stack:

        @cache
        def start(name: str) -> RunningProxy:
            folder = tmp_path_factory.mktemp(name)
            running = KINDS[name].run(folder, gateway=relay.port, backend=backend.port)
            started: RunningProxy = stack.enter_context(running)
            return started

        yield start


@pytest.fixture(scope="session", params=list(KINDS))
def proxy(request: pytest.FixtureRequest, _proxies: object) -> RunningProxy:
    """Each proxy of the examples that is installed here."""
    if (missing := KINDS[request.param].missing) is not None:
        pytest.skip(missing)
    started: RunningProxy = _proxies(request.param)  # type: ignore[operator]
    return started


@pytest.fixture(scope="session")
def token(decider: RunningGateway) -> str:
    """An access token of the user demo, for the scope project."""
    browser = Browser(decider.url)
    assert browser.sign_in().status_code == 303
    issued = Client(decider.url).redeem(browser.code())
    return str(issued.json()["access_token"])
