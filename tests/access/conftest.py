"""Tokens to ask with, and gateways before a backend that notes what reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.support.oauth_client import Browser, Client
from tests.support.recording import Recorded, recorded_gateway
from tests.support.running_gateway import SERVICE_SECRET, RunningGateway

ROUTES = """
[[routes]]
path = "/mcp"
public = true

[[routes]]
path = "/tools/**"
public = true

[[routes]]
path = "/reports/*"
scopes = ["admin"]

[[routes]]
path = "/mixed/secret"
scopes = ["admin"]

[[routes]]
path = "/mixed/**"
public = true

[[routes]]
path = "/things/*"
methods = ["POST"]
scopes = ["admin"]

[[routes]]
path = "/things/*"
methods = ["GET"]
public = true
"""


@pytest.fixture(scope="session")
def _recorded_gateways(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Recorded]]:
    """Start each kind of gateway when it is first asked for; end them all at the end."""
    with ExitStack() as stack:

        @cache
        def start(mode: str) -> Recorded:
            folder = tmp_path_factory.mktemp(f"paths-{mode}")
            return stack.enter_context(recorded_gateway(mode, folder, extra=ROUTES))

        yield start


@pytest.fixture(scope="session", params=["wrapped", "standalone"])
def recorded(
    request: pytest.FixtureRequest, _recorded_gateways: Callable[[str], Recorded]
) -> Recorded:
    """A gateway with rules for paths and methods, in each of the two ways of running it."""
    return _recorded_gateways(request.param)


@pytest.fixture(scope="module")
def bearer(recorded: Recorded) -> str:
    """An Authorization line with the scope project, and not admin."""
    browser = Browser(recorded.gateway.url)
    assert browser.sign_in().status_code == 303
    issued = Client(recorded.gateway.url).redeem(browser.code()).json()
    return f"Authorization: Bearer {issued['access_token']}"


@pytest.fixture(scope="module")
def token(gateway: RunningGateway) -> str:
    """An access token of the user demo with the scope project."""
    browser = Browser(gateway.url)
    assert browser.sign_in().status_code == 303
    issued: str = Client(gateway.url).redeem(browser.code()).json()["access_token"]
    return issued


@pytest.fixture(scope="module")
def service_token(gateway: RunningGateway) -> str:
    """An access token of a client that acts for itself."""
    issued = Client(gateway.url, "service", SERVICE_SECRET).post(
        "/oauth/token", {"grant_type": "client_credentials", "scope": "project"}
    )
    token: str = issued.json()["access_token"]
    return token
