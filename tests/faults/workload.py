"""Clients that live through trouble: each goes through grant after grant, and records it.

A client repeats a request that was answered with 503, and starts over when it is told to. Now
and then it acts as a thief or a bug would: it sends a code or a refresh token again that it has
exchanged long ago.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

from tests.faults.history import Kind, Operation, Recorder, Terms, Trouble, Verdict, judge
from tests.faults.site import Site, site
from tests.faults.troubles import Stand, losses_of, make_trouble
from tests.support.oauth_client import AUTHORIZE, Client, authorization
from tests.support.running_gateway import SERVICE_SECRET

#: Seconds. The gateway's own limit is one; the rest is for a machine that has much else to do.
LIMIT = 5.0
GRACE = 1
#: How long after its grace time a token is sent again that must not work any more.
_LATER = 0.3
#: How long the gateway may take to find out that the store is well again.
_RECOVERY = 4.0
_RETRY_SECONDS = 0.06
_REDIRECT_URI = "https://own.example/cb"


@dataclass
class _Holding:
    """The code and the tokens that a client has of one grant."""

    grant: str
    code: str
    access: str = field(repr=False)
    refresh: str = field(repr=False)
    #: The refresh token that gave these.
    before: str = field(default="", repr=False)


class _Refused(Exception):  # noqa: N818 - what happened, and no error of ours
    """The client was refused. The rules judge later whether that was right."""


class Actor:
    """One client at the gateway. Its requests are chosen at random."""

    def __init__(
        self, name: str, site: Site, recorder: Recorder, random: Random, until: float
    ) -> None:
        self._name = name
        self._url = site.gateway.url
        self._cookies = {each.name: each.value or "" for each in site.browser.session.cookies}
        self._client = site.client
        self._resource_server = Client(self._url, "resource-server", SERVICE_SECRET)
        self._recorder = recorder
        self._random = random
        self._until = until
        # Far past the last fault: nothing helps a client that is told to come again until then.
        self._patience_ends = until + 25.0
        self._grants = 0
        self._exchanged: list[tuple[float, str, _Holding]] = []

    def live(self) -> None:
        """Go through grants until the time is over, and end with a token that works."""
        endings = (self._replay, self._revoke, self._revoke_access, self._part, self._part)
        while time.monotonic() < self._until:
            try:
                holding = self._new_grant()
                for _ in range(self._random.randint(0, 8)):
                    self._random.choice(
                        (self._use, self._use, self._introspect, self._refresh, self._tabs)
                    )(holding)
                self._random.choice(endings)(holding)
                self._reuse()
            except _Refused:
                continue
        while True:
            try:
                self._use(self._new_grant())
            except _Refused:
                # It gives up. The rules see its last answer.
                if time.monotonic() > self._patience_ends:
                    return
            else:
                return

    def _new_grant(self) -> _Holding:
        self._grants += 1
        grant = f"{self._name}/{self._grants}"
        code = self._insist(partial(self._ask_for_code, grant)).code
        redeem = partial(self._exchange, Kind.REDEEM, grant, code, self._client.redeem)
        given: list[Operation] = []
        if self._random.random() < 0.15:
            # As after a double click. The second request is a replay, and ends the grant.
            with ThreadPoolExecutor(2) as clicks:
                answers = clicks.map(lambda _: redeem(), range(2))
                given = [each for each in answers if each.succeeded]
        redeemed = given[0] if given else self._insist(redeem)
        return _Holding(grant, code, redeemed.access, redeemed.refresh)

    def _use(self, holding: _Holding) -> None:
        self._insist(partial(self._use_once, holding.grant, holding.access))

    def _introspect(self, holding: _Holding) -> None:
        which = self._random.choice((holding.access, holding.refresh))
        self._insist(partial(self._introspect_once, holding.grant, which))

    def _refresh(self, holding: _Holding) -> None:
        before = holding.refresh
        self._take(holding, self._insist(self._refreshing(holding.grant, before)))
        if self._random.random() < 0.4:
            # As a client does that kept the answer too late.
            self._refreshing(holding.grant, before)()
        if self._random.random() < 0.3:
            self._introspect_once(holding.grant, before)
        self._exchanged.append((time.monotonic() + GRACE + _LATER, before, holding))

    def _tabs(self, holding: _Holding) -> None:
        """Refresh from three places at once, until one of them is answered."""
        call = self._refreshing(holding.grant, holding.refresh)
        with ThreadPoolExecutor(3) as tabs:
            answers = list(tabs.map(lambda _: call(), range(3)))
        given = next((each for each in answers if each.succeeded), None)
        self._take(holding, given or self._insist(call))

    def _take(self, holding: _Holding, given: Operation) -> None:
        holding.before = holding.refresh
        holding.access, holding.refresh = given.access, given.refresh

    def _replay(self, holding: _Holding) -> None:
        again = partial(
            self._exchange, Kind.REDEEM, holding.grant, holding.code, self._client.redeem
        )
        self._insist_on_any_answer(again)
        self._expect_the_end(holding)

    def _revoke(self, holding: _Holding) -> None:
        self._insist(partial(self._revoke_once, holding.grant, holding.refresh))
        self._expect_the_end(holding)

    def _revoke_access(self, holding: _Holding) -> None:
        self._insist(partial(self._revoke_once, holding.grant, holding.access))
        if holding.before and self._random.random() < 0.5:
            # Within its grace time it gives the same access token again, and that stays revoked.
            self._refreshing(holding.grant, holding.before)()
        self._use_once(holding.grant, holding.access)
        self._refresh(holding)
        self._use(holding)

    def _part(self, holding: _Holding) -> None:
        """Keep the grant; its old refresh tokens may come again."""

    def _reuse(self) -> None:
        """Send a refresh token that was exchanged more than a grace time ago."""
        due = [each for each in self._exchanged if each[0] < time.monotonic()]
        if not due:
            return
        self._exchanged = [each for each in self._exchanged if each not in due]
        _, token, holding = self._random.choice(due)
        self._insist_on_any_answer(self._refreshing(holding.grant, token))
        self._expect_the_end(holding)

    def _expect_the_end(self, holding: _Holding) -> None:
        self._use_once(holding.grant, holding.access)
        if self._random.random() < 0.5:
            self._refreshing(holding.grant, holding.refresh)()
        self._introspect_once(holding.grant, holding.access)

    def _insist(self, call: Callable[[], Operation]) -> Operation:
        answered = self._insist_on_any_answer(call)
        if not answered.succeeded:
            raise _Refused
        return answered

    def _insist_on_any_answer(self, call: Callable[[], Operation]) -> Operation:
        while True:
            answered = call()
            if not answered.unavailable or time.monotonic() > self._patience_ends:
                return answered
            time.sleep(_RETRY_SECONDS * self._random.uniform(0.5, 1.5))

    def _refreshing(self, grant: str, token: str) -> Callable[[], Operation]:
        return partial(self._exchange, Kind.REFRESH, grant, token, self._client.refresh)

    def _exchange(
        self, kind: Kind, grant: str, presented: str, call: Callable[[str], requests.Response]
    ) -> Operation:
        return self._recorded(kind, grant, presented, lambda: call(presented))

    def _use_once(self, grant: str, access: str) -> Operation:
        return self._recorded(
            Kind.USE, grant, access, lambda: self._client.get("/resource", access)
        )

    def _introspect_once(self, grant: str, token: str) -> Operation:
        return self._recorded(
            Kind.INTROSPECT, grant, token, lambda: self._resource_server.introspect(token)
        )

    def _revoke_once(self, grant: str, token: str) -> Operation:
        return self._recorded(Kind.REVOKE, grant, token, lambda: self._client.revoke(token))

    def _ask_for_code(self, grant: str) -> Operation:
        asked = authorization(client_id="own-app", redirect_uri=_REDIRECT_URI)

        def call() -> requests.Response:
            return requests.get(
                self._url + AUTHORIZE,
                asked,
                cookies=self._cookies,
                allow_redirects=False,
                timeout=20,
            )

        return self._recorded(Kind.AUTHORIZE, grant, "", call)

    def _recorded(
        self, kind: Kind, grant: str, presented: str, call: Callable[[], requests.Response]
    ) -> Operation:
        members: dict[str, Any]
        started = time.monotonic()
        try:
            response = call()
        except requests.RequestException as error:
            status, members = 0, {"error": type(error).__name__}
        else:
            status, members = response.status_code, _members(kind, response)
        ended = time.monotonic()
        operation = Operation(
            *(self._name, kind, grant, presented, started, ended, status),
            error=members.get("error", ""),
            code=members.get("code", ""),
            access=members.get("access_token", ""),
            refresh=members.get("refresh_token", ""),
            active=members.get("active") is True,
        )
        self._recorder.add(operation)
        return operation


def _members(kind: Kind, response: requests.Response) -> dict[str, Any]:
    """Return the members of an answer, with an ``error`` if it is not a right one."""
    if response.status_code == 503:
        in_order = response.headers.get("Retry-After") == "1"
        return {} if in_order else {"error": "no Retry-After"}
    if kind is Kind.AUTHORIZE:
        answer = dict(parse_qsl(urlsplit(response.headers.get("Location", "")).query))
        code = answer.get("code", "")
        return {"code": code} if code else {"error": answer.get("error", "no code")}
    try:
        members = response.json()
    except requests.JSONDecodeError:
        return {"error": "no JSON"}
    if kind is Kind.USE:
        return {} if response.status_code == 200 else {"error": members.get("error", "?")}
    if kind is Kind.INTROSPECT and members.get("active") is False:
        return {"error": "inactive"}
    return dict(members)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run: its operations, the faults, and the verdict."""

    operations: tuple[Operation, ...]
    troubles: list[Trouble]
    met: int
    verdict: Verdict


@contextmanager
def gateway_on(stand: Stand, folder: Path, workers: int = 2) -> Iterator[Site]:
    """Run a gateway of several processes on a stand."""
    tokens = f"refresh_grace_seconds = {GRACE}"
    with site(
        "standalone", folder, stand.url, tokens, store=stand.store, workers=workers
    ) as running:
        yield running


def run(stand: Stand, running: Site, seconds: float, *, actors: int = 10, seed: int) -> Outcome:
    """Let clients live for ``seconds`` while the store is in trouble; judge their history."""
    random = Random(seed)
    recorder = Recorder()
    until = time.monotonic() + seconds
    met = stand.met
    lives = [
        Actor(f"client-{number}", running, recorder, Random(random.random()), until)
        for number in range(actors)
    ]
    with ThreadPoolExecutor(actors) as threads:
        living = [threads.submit(each.live) for each in lives]
        troubles = make_trouble(stand, random, seconds)
        for each in living:
            each.result()
    terms = Terms(
        limit=LIMIT,
        grace=GRACE,
        calm=max([until, *(each.ended for each in troubles)]) + _RECOVERY,
        losses=losses_of(troubles),
        replicated_revocations=stand.replicated_revocations,
    )
    operations = recorder.operations()
    return Outcome(operations, troubles, stand.met - met, judge(operations, terms))
