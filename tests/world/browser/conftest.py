"""A gateway with applications that nobody has allowed yet, and the browser."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from itertools import count

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.running_gateway import RunningGateway, running_gateway
from tests.world.browser.chromium import (
    ARGUMENTS,
    CHROMIUM,
    Application,
    ApplicationPages,
    Tabs,
    serving,
)

_CLIENTS = 30
_LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"


@pytest.fixture(scope="module")
def application_port() -> Iterator[int]:
    yield from serving(ThreadingHTTPServer(("127.0.0.1", 0), ApplicationPages))


@pytest.fixture(scope="module")
def third_port() -> Iterator[int]:
    """Where an application sends the browser on to."""
    yield from serving(ThreadingHTTPServer(("127.0.0.1", 0), ApplicationPages))


@pytest.fixture(scope="module")
def gateway(
    application_port: int, third_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway with applications that come back to the server of this test."""
    clients = "".join(
        f"""
[[clients]]
client_id = "app-{number}"
name = "Application {number}"
redirect_uris = [
    "http://localhost:{application_port}/callback",
    "http://localhost:{application_port}/onward?port={third_port}",
    "http://127.0.0.1/callback",
    "http://[::1]/callback",
    "com.example.app:/callback",
]
scopes = ["project", "profile"]
pkce = "optional"
"""
        for number in range(_CLIENTS)
    )
    wide = f"""
[[clients]]
client_id = "{"long-" * 20}"
name = "{_LONG_WORD} {"W" * 150}"
redirect_uris = ["https://{"long-name." * 12}example/callback"]
scopes = ["project", "profile", "wide"]
pkce = "optional"
"""
    with running_gateway(
        "standalone",
        tmp_path_factory.mktemp("browser"),
        replace=(("[scopes]\n", f'[scopes]\nwide = "{_LONG_WORD * 3}"\n'),),
        extra=clients + wide,
    ) as started:
        yield started


_numbers = count()


@pytest.fixture
def application(gateway: RunningGateway, application_port: int) -> Application:
    return _application(gateway, application_port)


@pytest.fixture
def other_application(gateway: RunningGateway, application_port: int) -> Application:
    return _application(gateway, application_port)


def _application(gateway: RunningGateway, port: int) -> Application:
    number = next(_numbers)
    assert number < _CLIENTS, "register more applications"
    uri = f"http://localhost:{port}/callback"
    return Application(gateway, f"app-{number}", f"Application {number}", uri)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def tabs(chromium: Browser) -> Iterator[Tabs]:
    opened = Tabs(chromium)
    yield opened
    for context in opened.contexts:
        context.close()
    assert opened.complaints == []
