"""A gateway on a store that a test can put into trouble, with its user and its client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.support.oauth_client import Browser, Client
from tests.support.running_gateway import RunningGateway, running_gateway

#: Seconds. A gateway's own limit is twice ``store.timeout``, one second; the rest is for a
#: machine that has much else to do.
STORE_TIMEOUT = 0.5
LIMIT = 2.5

_REDIRECT_URI = "https://own.example/cb"


@dataclass(frozen=True)
class Tokens:
    """The tokens of a client."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """The answer to one request, and how long it took (s)."""

    status: int
    seconds: float
    retry_after: str | None
    body: str

    @property
    def is_unavailable(self) -> bool:
        """Whether the client is told to come again, as is right in trouble."""
        return self.status == 503 and self.retry_after == "1"


@dataclass
class Site:
    """A running gateway, a user who is signed in, and a client that needs no consent."""

    gateway: RunningGateway
    browser: Browser
    client: Client

    def code(self) -> str:
        """Let the user allow the client; return the code."""
        return self.browser.code(client_id="own-app", redirect_uri=_REDIRECT_URI)

    def tokens(self) -> Tokens:
        """Let the client have tokens of a new grant."""
        return tokens_of(self.client.redeem(self.code()))

    def use(self, access: str) -> requests.Response:
        """Use an access token."""
        return self.client.get("/resource", access)

    def works(self, access: str) -> bool:
        """Tell whether an access token lets its client in."""
        return self.use(access).status_code == 200


def tokens_of(response: requests.Response) -> Tokens:
    """Return the tokens of a successful token response."""
    assert response.status_code == 200, response.text
    members = response.json()
    return Tokens(members["access_token"], members["refresh_token"])


@contextmanager
def site(
    mode: str,
    folder: Path,
    url: str,
    tokens: str = "",
    *,
    store: str = "",
    timeout: float = STORE_TIMEOUT,
    workers: int = 1,
) -> Iterator[Site]:
    """Run a gateway on the store at ``url`` until the block ends.

    ``tokens`` and ``store`` are lines for these tables of its configuration; ``timeout`` is
    ``store.timeout``.
    """
    replace = (
        ("timeout = 5.0", f"timeout = {timeout}\n{store}"),
        ("workers = 1", f"workers = {workers}"),
    )
    with running_gateway(mode, folder, store=url, tokens=tokens, replace=replace) as gateway:
        browser = Browser(gateway.url)
        assert browser.sign_in().status_code == 303
        client = Client(gateway.url, "own-app", redirect_uri=_REDIRECT_URI)
        yield Site(gateway, browser, client)


def timed(call: Callable[[], requests.Response]) -> Answer:
    """Make a request; return its answer."""
    started = time.monotonic()
    response = call()
    seconds = time.monotonic() - started
    retry_after = response.headers.get("Retry-After")
    return Answer(response.status_code, seconds, retry_after, response.text)


def at_once(calls: Sequence[Callable[[], requests.Response]]) -> list[Answer]:
    """Make all these requests at the same time."""
    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(timed, calls))


def seconds_until(condition: Callable[[], object], limit: float = 10.0) -> float:
    """Wait until ``condition()`` is true and return how long that took; raise past ``limit``."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > limit:
            raise AssertionError(f"not true within {limit:g} s")
        time.sleep(0.02)
    return time.monotonic() - started


def insisting(call: Callable[[], requests.Response]) -> requests.Response:
    """Repeat a request while the answer is 503, as a good client does."""
    for _ in range(20):
        response = call()
        if response.status_code != 503:
            return response
        time.sleep(0.2)
    raise AssertionError("told to come again for ever")
