"""Clients that live through trouble, and the rules that judge their history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.history import Kind, Operation, Recorder, Terms, Verdict, judge
from tests.faults.soak import table_of
from tests.faults.troubles import STANDS
from tests.faults.workload import Outcome, gateway_on, run

TERMS = Terms(limit=2.0, grace=10.0, calm=1000.0)


class Story:
    """A history, told request by request, one after the other."""

    def __init__(self) -> None:
        self.now = 0.0
        self.recorder = Recorder()

    def tell(
        self,
        kind: Kind,
        presented: str = "",
        status: int = 200,
        error: str = "",
        *,
        seconds: float = 0.5,
        client: str = "ann",
        grant: str = "1",
        **given: str | bool,
    ) -> Story:
        """Add the next request; it begins when the one before it has ended."""
        ended = self.now + seconds
        self.recorder.add(
            Operation(
                client,
                kind,
                grant,
                presented,
                self.now,
                ended,
                status,
                error,
                **given,  # type: ignore[arg-type]
            )
        )
        self.now = ended + 0.1
        return self

    def begin(self) -> Story:
        """Add the beginning of every story: a code, and the tokens that it gave."""
        self.tell(Kind.AUTHORIZE, status=302, code="code")
        return self.tell(Kind.REDEEM, "code", access="access-0", refresh="refresh-0")

    def refresh(self, number: int, **given: str) -> Story:
        """Exchange a refresh token for the next pair."""
        pair = {"access": f"access-{number + 1}", "refresh": f"refresh-{number + 1}"} | given
        return self.tell(Kind.REFRESH, f"refresh-{number}", **pair)  # type: ignore[arg-type]

    def use(self, number: int = 0, status: int = 200, error: str = "") -> Story:
        """Use an access token."""
        return self.tell(Kind.USE, f"access-{number}", status, error)

    def refused(self, kind: Kind, presented: str, error: str) -> Story:
        """Be refused with an OAuth error."""
        return self.tell(kind, presented, 401 if error == "invalid_token" else 400, error)

    def later(self, seconds: float = 11.0) -> Story:
        """Let time go by; by default more than the grace."""
        self.now += seconds
        return self

    def start_over(self) -> Story:
        """Get another grant and use it, as a client does that lost its grant."""
        self.tell(Kind.AUTHORIZE, status=302, grant="2", code="code-2")
        self.tell(Kind.REDEEM, "code-2", grant="2", access="access-b", refresh="refresh-b")
        return self.tell(Kind.USE, "access-b", grant="2")

    @property
    def operations(self) -> tuple[Operation, ...]:
        return self.recorder.operations()

    def verdict(self, terms: Terms = TERMS) -> Verdict:
        return judge(self.operations, terms)

    @property
    def broken(self) -> list[str]:
        """The rules that were broken."""
        return [each.rule for each in self.verdict().violations]


def _good_life() -> Story:
    story = Story().begin().use().refresh(0).refresh(0)
    story.tell(Kind.REFRESH, "refresh-1", 503).refresh(1).use(2)
    story.tell(Kind.INTROSPECT, "refresh-1", error="inactive")
    story.tell(Kind.INTROSPECT, "refresh-2", active=True)
    story.tell(Kind.REVOKE, "access-2").use(2, 401, "invalid_token").refresh(2)
    story.tell(Kind.REVOKE, "refresh-3").use(3, 401, "invalid_token")
    story.refused(Kind.REFRESH, "refresh-3", "invalid_grant")
    return story.start_over()


def test_a_life_with_nothing_wrong_in_it_is_not_objected_to() -> None:
    assert _good_life().verdict() == Verdict(())


BAD: dict[str, tuple[Callable[[], Story], str]] = {
    "a code that gives tokens twice": (
        lambda: Story().begin().tell(Kind.REDEEM, "code", access="x", refresh="y").use(),
        "a code succeeded twice",
    ),
    "a token that works after its grant was revoked": (
        lambda: Story().begin().tell(Kind.REVOKE, "refresh-0").use(),
        "a token worked after its end was acknowledged",
    ),
    "a token that works after it was revoked itself": (
        lambda: Story().begin().tell(Kind.REVOKE, "access-0").use(),
        "a token worked after its end was acknowledged",
    ),
    "a refresh token that works after its grant was revoked": (
        lambda: Story().begin().tell(Kind.REVOKE, "refresh-0").refresh(0).start_over(),
        "a token worked after its end was acknowledged",
    ),
    "a token that is active after its grant was revoked": (
        lambda: (
            Story()
            .begin()
            .tell(Kind.REVOKE, "refresh-0")
            .tell(Kind.INTROSPECT, "access-0", active=True)
            .start_over()
        ),
        "a token worked after its end was acknowledged",
    ),
    "a token that works after its code was replayed": (
        lambda: Story().begin().refused(Kind.REDEEM, "code", "invalid_grant").use(),
        "a token worked after its end was acknowledged",
    ),
    "a token that works after its family was ended by a reuse": (
        lambda: (
            Story()
            .begin()
            .refresh(0)
            .later()
            .refused(Kind.REFRESH, "refresh-0", "invalid_grant")
            .use(1)
        ),
        "a token worked after its end was acknowledged",
    ),
    "a refresh token with two successors": (
        lambda: Story().begin().refresh(0).refresh(0, refresh="another").use(),
        "a refresh token had two successors",
    ),
    "a refresh token that works after its grace": (
        lambda: Story().begin().refresh(0).later().refresh(0).use(1),
        "a refresh token worked after its grace time",
    ),
    "a refresh token that is active beside its successor": (
        lambda: Story().begin().refresh(0).tell(Kind.INTROSPECT, "refresh-0", active=True).use(1),
        "a refresh token was active beside its successor",
    ),
    "a code that is refused to its client": (
        lambda: (
            Story()
            .tell(Kind.AUTHORIZE, status=302, code="code")
            .tell(Kind.REDEEM, "code", 503)
            .refused(Kind.REDEEM, "code", "invalid_grant")
            .start_over()
        ),
        "a client that did nothing wrong was refused",
    ),
    "a refresh token that is refused to its client": (
        lambda: Story().begin().refused(Kind.REFRESH, "refresh-0", "invalid_grant").start_over(),
        "a client that did nothing wrong was refused",
    ),
    "a retry within the grace that is refused": (
        lambda: (
            Story()
            .begin()
            .refresh(0)
            .refused(Kind.REFRESH, "refresh-0", "invalid_grant")
            .start_over()
        ),
        "a client that did nothing wrong was refused",
    ),
    "an access token that is refused": (
        lambda: Story().begin().use(0, 401, "invalid_token").start_over(),
        "a client that did nothing wrong was refused",
    ),
    "an access token that is said to be inactive": (
        lambda: Story().begin().tell(Kind.INTROSPECT, "access-0", error="inactive").use(),
        "a client that did nothing wrong was refused",
    ),
    "a client that is not known any more": (
        lambda: Story().begin().refused(Kind.REFRESH, "refresh-0", "invalid_client").use(),
        "a client that did nothing wrong was refused",
    ),
    "a user who is not signed in any more": (
        lambda: Story().tell(Kind.AUTHORIZE, "", 302, "no code", grant="").start_over(),
        "a client that did nothing wrong was refused",
    ),
    "a server error": (
        lambda: Story().begin().tell(Kind.USE, "access-0", 500, "server_error").use(),
        "a client that did nothing wrong was refused",
    ),
    "a 503 that does not say when to come again": (
        lambda: Story().begin().tell(Kind.USE, "access-0", 503, "no Retry-After").use(),
        "a client that did nothing wrong was refused",
    ),
    "a revocation that is refused": (
        lambda: Story().begin().refused(Kind.REVOKE, "refresh-0", "invalid_client").start_over(),
        "a client that did nothing wrong was refused",
    ),
    "an answer that comes late": (
        lambda: Story().begin().tell(Kind.USE, "access-0", 503, seconds=2.1).use(),
        "an answer did not come in time",
    ),
    "a 503 when the trouble is long over": (
        lambda: Story().begin().later(1000).tell(Kind.USE, "access-0", 503).use(),
        "a client was told to come again when the trouble was over",
    ),
    "a client without a working token at the end": (
        lambda: Story().begin().use().tell(Kind.USE, "access-0", 503),
        "a client kept trying and has no working token",
    ),
    "another client without a working token at the end": (
        lambda: Story().tell(Kind.AUTHORIZE, status=503, client="bob", grant="").begin().use(),
        "a client kept trying and has no working token",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_each_rule_sees_what_is_against_it(bad: str) -> None:
    """Each of these histories breaks one rule, and no other."""
    story, rule = BAD[bad]
    assert set(story().broken) == {rule}


def test_no_answer_at_all_is_no_answer_in_time() -> None:
    story = Story().begin().tell(Kind.USE, "access-0", 0, "ConnectionError").use()
    assert "an answer did not come in time" in story.broken


def _overlapping(story: Story, kind: Kind, presented: str) -> Story:
    """Let the last request begin before the answer to the request that ended its grant."""
    *before, last = story.operations
    again = Story()
    end = next(each for each in before if each.kind is kind and each.presented == presented)
    for each in (*before, replace(last, started=end.ended - 0.01)):
        again.recorder.add(each)
    return again


def test_a_request_that_began_before_the_revocation_was_answered_may_still_succeed() -> None:
    late = Story().begin().tell(Kind.REVOKE, "refresh-0").use()
    assert late.broken == ["a token worked after its end was acknowledged"]
    assert _overlapping(late, Kind.REVOKE, "refresh-0").broken == []


def test_a_request_that_a_revocation_overtakes_may_be_refused() -> None:
    """The revocation has begun, so the refusal may come before its acknowledgement."""
    story = Story().begin().tell(Kind.REVOKE, "refresh-0", 503).use(0, 401, "invalid_token")
    assert story.start_over().broken == []


def test_tabs_that_refresh_at_once_share_one_successor() -> None:
    story = Story().begin().refresh(0)
    first = story.operations[-1]
    for each in range(3):
        story.recorder.add(replace(first, started=first.started + each / 100))
    assert story.use(1).broken == []


def test_what_a_failover_lost_is_told_apart_from_what_was_wrong() -> None:
    """A loss explains grants that were changed meanwhile, and no revocation that replicas had."""
    story = Story().begin()
    begin = story.now
    story.refresh(0)
    end = story.now
    story.later().refused(Kind.REFRESH, "refresh-1", "invalid_grant").start_over()
    lossy = replace(TERMS, losses=((begin, end),))
    assert story.verdict(lossy).violations == ()
    assert [each.rule for each in story.verdict(lossy).lost] == [
        "a client that did nothing wrong was refused"
    ]
    elsewhen = replace(TERMS, losses=((end + 1, end + 2),))
    assert len(story.verdict(elsewhen).violations) == 1


@pytest.mark.parametrize("replicated", [False, True])
def test_a_revocation_that_replicas_had_is_never_lost(replicated: bool) -> None:
    story = Story().begin().tell(Kind.REVOKE, "refresh-0").use()
    lossy = replace(TERMS, losses=((0.0, 100.0),), replicated_revocations=replicated)
    verdict = story.verdict(lossy)
    assert (len(verdict.violations), len(verdict.lost)) == ((1, 0) if replicated else (0, 1))


def test_the_story_of_a_violation_shows_no_token_whole() -> None:
    secret = "gwa_" + "s" * 60 + "123456"
    story = Story().begin().tell(Kind.USE, secret, 401, "invalid_token").start_over()
    told = str(story.verdict().violations[0])
    assert secret not in told
    assert "use(123456) → 401 invalid_token" in told


def _trouble(store: str, folder: Path, seconds: float, seed: int) -> Outcome:
    with STANDS[store](folder / "store") as stand, gateway_on(stand, folder / "gateway") as site:
        return run(stand, site, seconds, actors=6, seed=seed)


@pytest.mark.parametrize(("store", "seconds"), [("one-node", 6), ("cluster", 5), ("sentinel", 5)])
def test_clients_that_live_through_trouble_lose_nothing_and_get_nothing_twice(
    tmp_path: Path, store: str, seconds: float
) -> None:
    """All kinds of requests under all kinds of faults; `make soak` runs it for longer."""
    outcome = _trouble(store, tmp_path, seconds, seed=2)
    told = "\n".join(map(str, outcome.verdict.violations))
    assert not outcome.verdict.violations, told
    assert any(each.loses for each in outcome.troubles) == (store == "sentinel")
    done = {each.kind for each in outcome.operations if each.succeeded}
    assert done == set(Kind), table_of(outcome)
    assert any(each.unavailable for each in outcome.operations), table_of(outcome)
    assert "Violations: 0." in table_of(outcome)
