"""A gateway whose clients nobody has confirmed yet, and browsers at it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import count

import pytest

from tests.endpoints.authorize.authorization import HOSTILE_NAME
from tests.support.oauth_client import Browser
from tests.support.running_gateway import RunningGateway

_FRESH = 40
_CLIENTS = "".join(
    f"""
[[clients]]
client_id = "app-{number}"
name = "App {number}"
redirect_uris = ["https://app-{number}.example/cb"]
scopes = ["project", "profile"]
pkce = "optional"
"""
    for number in range(_FRESH)
)
_HOSTILE_CLIENT = f"""
[[clients]]
client_id = "<b>\\"bold'"
name = '''{HOSTILE_NAME}'''
redirect_uris = ["https://hostile.example/cb?x='&y=(1)"]
scopes = ["project"]
pkce = "optional"

[[clients]]
client_id = "local"
name = "Local"
redirect_uris = ["http://localhost:7000/cb"]
scopes = ["project"]
pkce = "optional"
"""


@pytest.fixture(scope="session", params=["wrapped", "standalone"])
def gateway(request: pytest.FixtureRequest, _gateways: object) -> RunningGateway:
    """A gateway of this room's own: what its users confirmed, they confirmed here."""
    started: RunningGateway = _gateways(  # type: ignore[operator]
        request.param, "authorize", extra=_CLIENTS + _HOSTILE_CLIENT
    )
    return started


@pytest.fixture(scope="module")
def demo(gateway: RunningGateway) -> Iterator[Browser]:
    """A browser in which demo is signed in."""
    browser = Browser(gateway.url)
    with browser.session:
        assert browser.sign_in().status_code == 303
        yield browser


@pytest.fixture(scope="module")
def nobody(gateway: RunningGateway) -> Iterator[Browser]:
    """A browser in which nobody is signed in."""
    browser = Browser(gateway.url)
    with browser.session:
        yield browser


@pytest.fixture(scope="module")
def zoe(gateway: RunningGateway) -> Iterator[Browser]:
    """A browser in which another user is signed in."""
    browser = Browser(gateway.url)
    with browser.session:
        assert browser.sign_in("zoë").status_code == 303
        yield browser


@pytest.fixture(scope="session")
def _numbers() -> defaultdict[str, Iterator[int]]:
    """The numbers of the clients that are still fresh, for each gateway by its URL."""
    return defaultdict(count)


@pytest.fixture
def asked(gateway: RunningGateway, _numbers: defaultdict[str, Iterator[int]]) -> dict[str, str]:
    """An authorization request of a client that nobody has confirmed yet."""
    number = next(_numbers[gateway.url])
    assert number < _FRESH, "define more clients"
    return {
        "client_id": f"app-{number}",
        "redirect_uri": f"https://app-{number}.example/cb",
        "response_type": "code",
        "scope": "project",
        "state": "s",
    }
