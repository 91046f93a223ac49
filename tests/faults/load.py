"""Clients that go through the whole life of their grants while a store is in trouble.

Each does what its user's application would do: it comes again when it is told to, or gets no
answer, and takes every other answer at its word. So an OAuth error that it did not deserve,
or a token that lives on after it was taken back, is noted as a violation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event

import requests

from tests.faults.site import LIMIT, Answer, Site, Tokens, seconds_until, tokens_of
from tests.support.oauth_client import Browser, Client, answer_of, authorization

_PAUSE_SECONDS = 0.1
_PATIENCE_SECONDS = 20.0


#: As when a process is killed before, or in the middle of, its answer.
_BROKEN_OFF = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


class _Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The test has ended while this client was told to come again."""


class _Spent(Exception):  # noqa: N818 - as RFC 6749 wants it
    """A code was redeemed, and the answer with the tokens broke off."""


@dataclass
class Load:
    """The answers that the clients have had so far."""

    answers: list[Answer] = field(default_factory=list)
    #: Requests that were broken off, as they are when a process of the gateway is killed.
    broken_off: int = 0
    violations: list[str] = field(default_factory=list)
    #: Lives that were gone through from the code to the revocation.
    lives: int = 0
    #: Grants that nobody took back, and access tokens whose revocation was acknowledged.
    kept: list[Tokens] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)

    @property
    def unavailable(self) -> int:
        """The number of requests that were told to come again."""
        return sum(each.status == 503 for each in self.answers)

    @property
    def slowest(self) -> float:
        """The time of the slowest answer (s)."""
        return max(each.seconds for each in self.answers)

    def goes_on(self, lives: int = 4) -> float:
        """Wait until clients went through so many more lives; return how long that took (s)."""
        wanted = self.lives + lives
        return seconds_until(lambda: self.lives >= wanted, _PATIENCE_SECONDS)

    def judge(self, limit: float) -> None:
        """Raise if a client got an answer that it did not deserve, or got it too late."""
        assert not self.violations, self.violations[:5]
        assert all(each.is_unavailable for each in self.answers if each.status == 503)
        assert self.slowest < limit, self.slowest


@dataclass
class _Person:
    """One user's browser and application, one request after the other."""

    load: Load
    browser: Browser
    client: Client
    stop: Event

    def live(self) -> None:
        """Go through one life after the other."""
        try:
            while not self.stop.is_set():
                with suppress(_Spent):
                    self._one_life()
        except _Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - it is what the test is told
            self.load.violations.append(repr(error))

    def _one_life(self) -> None:
        code = answer_of(self._insist("authorize", self._authorize, 302, 303))["code"]
        tokens = self._tokens("redeem", lambda: self.client.redeem(code))
        self._use(tokens, 200)
        for _ in range(2):
            tokens = self._tokens("refresh", partial(self.client.refresh, tokens.refresh))
            self._use(tokens, 200)
        if self.load.lives % 3 == 0:
            self.load.kept.append(tokens)
        else:
            self._insist("revoke", lambda: self.client.revoke(tokens.refresh), 200)
            self.load.revoked.append(tokens.access)
            self._use(tokens, 401)
        self.load.lives += 1

    def _authorize(self) -> requests.Response:
        wanted = authorization(client_id="own-app", redirect_uri=self.client.redirect_uri)
        return self.browser.authorize(**wanted)

    def _tokens(self, what: str, call: Callable[[], requests.Response]) -> Tokens:
        return tokens_of(self._insist(what, call, 200))

    def _use(self, tokens: Tokens, status: int) -> None:
        self._insist("use", lambda: self.client.get("/resource", tokens.access), status)

    def _insist(
        self, what: str, call: Callable[[], requests.Response], *expected: int
    ) -> requests.Response:
        broken_off = False
        while True:
            started = time.monotonic()
            try:
                response = call()
            except _BROKEN_OFF:
                self.load.broken_off += 1
                broken_off = True
            else:
                seconds = time.monotonic() - started
                retry_after = response.headers.get("Retry-After")
                self.load.answers.append(
                    Answer(response.status_code, seconds, retry_after, response.text)
                )
                if response.status_code in expected:
                    return response
                if broken_off and what == "redeem" and response.status_code == 400:
                    # A code is good for one answer; its user allows the client once more.
                    raise _Spent
                if response.status_code != 503:
                    self.load.violations.append(
                        f"{what}: {response.status_code}, not {expected}: {response.text}"
                    )
                    raise _Stopped
            if self.stop.wait(_PAUSE_SECONDS):
                raise _Stopped


@contextmanager
def load(
    site: Site, clients: int = 4, *, breaks_off: bool = False, limit: float = LIMIT
) -> Iterator[Load]:
    """Let clients of ``site`` live their lives until the block ends, and judge what they saw.

    ``breaks_off`` says that requests may be broken off, as no trouble of a store does;
    ``limit`` how long any answer may take (s).
    """
    running = Load()
    stop = Event()
    with ThreadPoolExecutor(clients) as threads:
        for _ in range(clients):
            browser = Browser(site.gateway.url)
            # The sign-in is not part of the load.
            browser.session.cookies.update(site.browser.session.cookies)
            person = _Person(running, browser, site.client, stop)
            threads.submit(person.live)
        try:
            yield running
        finally:
            stop.set()
    running.judge(limit)
    assert breaks_off or not running.broken_off
