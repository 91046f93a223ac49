"""Gateways that run for the whole session, in both ways; every test brings its own users' work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from redis import Redis

from tests.support.oauth_client import Browser, Client
from tests.support.parties import Parties, parties_at
from tests.support.running_gateway import (
    CONFIDENTIAL_SECRET,
    SERVICE_SECRET,
    RunningGateway,
    running_gateway,
)
from tests.support.store import embedded


@pytest.fixture(scope="session")
def _gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Start each kind of gateway when it is first asked for; end them all at the end."""
    with ExitStack() as stack:

        @cache
        def start(mode: str, name: str = "common", **settings: object) -> RunningGateway:
            folder: Path = tmp_path_factory.mktemp(f"{name}-{mode}")
            return stack.enter_context(running_gateway(mode, folder, **settings))

        yield start


@pytest.fixture(scope="session", params=["wrapped", "standalone"])
def gateway(request: pytest.FixtureRequest, _gateways: object) -> RunningGateway:
    """A gateway in front of the echo backend, in each of the two ways of running it."""
    started: RunningGateway = _gateways(request.param)  # type: ignore[operator]
    return started


@pytest.fixture(scope="session")
def standalone(_gateways: object) -> RunningGateway:
    """The standalone gateway, where the way of running it makes no difference."""
    started: RunningGateway = _gateways("standalone")  # type: ignore[operator]
    return started


@pytest.fixture(scope="session")
def short_lived(_gateways: object) -> RunningGateway:
    """A gateway whose codes, tokens and grace time last one second."""
    tokens = (
        "code_seconds = 1\naccess_seconds = 1\nrefresh_seconds = 3\nrefresh_grace_seconds = 1\n"
    )
    started: RunningGateway = _gateways("standalone", "short", tokens=tokens)  # type: ignore[operator]
    return started


@pytest.fixture
def parties(gateway: RunningGateway) -> Parties:
    """The browser of a signed-in user at the gateway, and the clients."""
    return parties_at(gateway)


@pytest.fixture(scope="module")
def redis(gateway: RunningGateway) -> Iterator[Redis]:
    """The store of the gateway, seen from beside it."""
    with embedded(gateway.data_dir) as redis:
        yield redis


@pytest.fixture
def browser(gateway: RunningGateway) -> Browser:
    """A fresh browser at the gateway, nobody signed in."""
    return Browser(gateway.url)


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    """A fresh browser with the user demo signed in."""
    assert browser.sign_in().status_code == 303
    return browser


@pytest.fixture
def client(gateway: RunningGateway) -> Client:
    """The documented public client."""
    return Client(gateway.url)


@pytest.fixture
def confidential(gateway: RunningGateway) -> Client:
    """A client with a secret."""
    return Client(
        gateway.url, "confidential", CONFIDENTIAL_SECRET, "https://confidential.example/cb"
    )


@pytest.fixture
def service(gateway: RunningGateway) -> Client:
    """A client that acts for itself."""
    return Client(gateway.url, "service", SERVICE_SECRET)
