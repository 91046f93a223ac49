"""The history of a run: requests and answers while the store was in trouble, and their judgement.

A history is a list of requests, each with its answer and the times between which it happened.
The judgement is pure: the rules do not know how the history came about. Requests overlap, so a
rule holds for every order in which the gateway may have taken them: "before" means that one
request had been answered when the other began.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from math import inf


class Kind(StrEnum):
    """The kinds of requests."""

    AUTHORIZE = "authorize"
    REDEEM = "redeem"
    REFRESH = "refresh"
    USE = "use"
    INTROSPECT = "introspect"
    REVOKE = "revoke"


@dataclass(frozen=True, slots=True)
class Operation:
    """One request and its answer; times are seconds of one monotonic clock.

    ``grant`` names the grant among all of the history, and ``presented`` is the code or token
    that was sent. ``status`` is HTTP's, 0 if there was no answer. ``error`` is the OAuth error, or
    why the answer is none that the endpoint may give. ``active`` is that member of an
    introspection.
    """

    client: str
    kind: Kind
    grant: str
    presented: str
    started: float
    ended: float
    status: int
    error: str = ""
    code: str = ""
    access: str = ""
    refresh: str = ""
    active: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the client got the thing that it asked for."""
        if self.error or self.status not in {200, 302}:
            return False
        return self.active or self.kind is not Kind.INTROSPECT

    @property
    def unavailable(self) -> bool:
        """Whether the client was told to come again, as is right in trouble."""
        return self.status == 503 and not self.error

    def __str__(self) -> str:
        """Describe the request, with so much of a token as tells it from other tokens."""
        answer = f"{self.status} {self.error}".strip()
        return (
            f"{self.started:.3f}..{self.ended:.3f} {self.client} {self.grant}"
            f" {self.kind}({self.presented[-6:]}) → {answer}"
        )


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault of the store, with its times. ``loses``: it may lose acknowledged changes."""

    name: str
    began: float
    ended: float
    loses: bool = False


class Recorder:
    """Collects operations from many threads."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._lock = threading.Lock()

    def add(self, operation: Operation) -> None:
        """Keep one more operation."""
        with self._lock:
            self._operations.append(operation)

    def operations(self) -> tuple[Operation, ...]:
        """Return all operations so far, in the order of their answers."""
        with self._lock:
            return tuple(sorted(self._operations, key=lambda each: each.ended))


@dataclass(frozen=True)
class Terms:
    """The terms under which the gateway ran (s).

    ``limit`` is how long an answer may take, and ``grace`` is tokens.refresh_grace_seconds. From
    ``calm`` on, the store had been well for long enough that every worker knew. ``losses`` are the
    times in which the store may have lost acknowledged changes, as a failover does where
    replication is asynchronous. With ``replicated_revocations`` it lost no revocation: each was
    acknowledged when a replica had it.
    """

    limit: float
    grace: float
    calm: float = inf
    losses: tuple[tuple[float, float], ...] = ()
    replicated_revocations: bool = False


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule: the rule, the grant that it is about, and the requests that show it."""

    rule: str
    grant: str
    story: tuple[Operation, ...]
    may_be_lost: bool = True

    def __str__(self) -> str:
        """Show the requests, one a line."""
        return "\n  ".join([f"{self.rule}:", *map(str, self.story)])


@dataclass(frozen=True)
class Verdict:
    """The violations; and apart from them, those that a loss of the store explains (``lost``)."""

    violations: tuple[Violation, ...]
    lost: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class History:
    """Operations, arranged for the rules."""

    operations: Sequence[Operation]
    terms: Terms

    @cached_property
    def by_grant(self) -> dict[str, list[Operation]]:
        """The operations of each grant."""
        grants: dict[str, list[Operation]] = defaultdict(list)
        for each in self.operations:
            if each.grant:
                grants[each.grant].append(each)
        return grants

    @cached_property
    def _successes(self) -> dict[tuple[Kind, str], list[Operation]]:
        found: dict[tuple[Kind, str], list[Operation]] = defaultdict(list)
        for each in self.operations:
            if each.succeeded:
                found[each.kind, each.presented].append(each)
        return found

    def successes(self, kind: Kind, presented: str) -> list[Operation]:
        """Return the operations of a kind that succeeded with one code or token."""
        return self._successes.get((kind, presented), [])

    @cached_property
    def refresh_tokens(self) -> frozenset[str]:
        """Every refresh token that was given."""
        return frozenset(each.refresh for each in self.operations if each.refresh)

    def is_repeat(self, operation: Operation) -> bool:
        """Tell whether its code or refresh token may have been spent for good before.

        A code is spent once a request with it was answered; a refresh token, a grace time later.
        """
        grace = {Kind.REDEEM: 0.0, Kind.REFRESH: self.terms.grace}.get(operation.kind)
        return grace is not None and any(
            other is not operation and operation.ended >= other.started + grace
            for other in self.successes(operation.kind, operation.presented)
        )

    @cached_property
    def _endings(self) -> dict[str, float]:
        endings: dict[str, float] = {}
        for each in self.operations:
            revoked = each.kind is Kind.REVOKE
            if revoked or self.is_repeat(each):
                # An access token is taken back alone, a refresh token with its grant.
                of = each.grant if each.presented not in self._access_tokens else each.presented
                endings[of] = min(endings.get(of, inf), each.started)
        return endings

    @cached_property
    def _exchanged(self) -> dict[str, float]:
        begun: dict[str, float] = {}
        for each in self.operations:
            if each.kind is Kind.REFRESH:
                begun[each.presented] = min(begun.get(each.presented, inf), each.started)
        return begun

    @cached_property
    def _access_tokens(self) -> frozenset[str]:
        return frozenset(each.access for each in self.operations if each.access)

    def is_deserved(self, operation: Operation) -> bool:
        """Tell whether a refusal may be right: the client had begun to end that grant or token."""
        if operation.kind is Kind.REVOKE:
            # RFC 7009 §2.2: the answer is 200 even if the token is invalid.
            return False
        begun = [self._endings.get(of, inf) for of in (operation.grant, operation.presented)]
        if operation.kind is Kind.INTROSPECT:
            # An exchanged refresh token is not the current one, answered or not.
            begun.append(self._exchanged.get(operation.presented, inf))
        return min(begun) <= operation.ended


Rule = Callable[[History], Iterator[Violation]]


def a_code_succeeds_once(history: History) -> Iterator[Violation]:
    """RFC 6749 §4.1.2. A gateway that repeats a command does not repeat the client's request."""
    codes = {each.presented: each for each in history.operations if each.kind is Kind.REDEEM}
    for code, any_of_them in codes.items():
        successes = history.successes(Kind.REDEEM, code)
        if len(successes) > 1:
            yield Violation("a code succeeded twice", any_of_them.grant, tuple(successes))


def what_is_ended_stays_ended(history: History) -> Iterator[Violation]:
    """RFC 7009 §2.1, RFC 9700 §4.5 and §4.14: nothing works once its end was acknowledged.

    The end of a grant is acknowledged by the revocation of a refresh token, and by an
    ``invalid_grant`` to the client that has the right proof: a replay, or a reuse.
    """
    for grant, operations in history.by_grant.items():
        ends: dict[str, Operation] = {}
        for each in operations:
            revoked = each.kind is Kind.REVOKE and each.succeeded
            if revoked or each.error == "invalid_grant":
                is_refresh = each.presented in history.refresh_tokens
                of = each.presented if revoked and not is_refresh else grant
                if of not in ends or each.ended < ends[of].ended:
                    ends[of] = each
        for each in operations:
            if each.kind is Kind.REVOKE or not each.succeeded:
                continue
            for of in (grant, each.presented):
                end = ends.get(of)
                if end is not None and each.started > end.ended:
                    yield Violation(
                        "a token worked after its end was acknowledged",
                        grant,
                        (end, each),
                        may_be_lost=end.kind is not Kind.REVOKE
                        or not history.terms.replicated_revocations,
                    )


def a_grant_has_one_refresh_token(history: History) -> Iterator[Violation]:
    """RFC 9700 §4.14.2: an exchanged token gives its one successor, and only in its grace time."""
    exchanged = {each.presented: each for each in history.operations if each.kind is Kind.REFRESH}
    for token, any_of_them in exchanged.items():
        successes = history.successes(Kind.REFRESH, token)
        for other in successes[1:]:
            first = successes[0]
            if other.refresh != first.refresh:
                rule = "a refresh token had two successors"
                yield Violation(rule, any_of_them.grant, (first, other))
            if other.started > first.ended + history.terms.grace:
                rule = "a refresh token worked after its grace time"
                yield Violation(rule, any_of_them.grant, (first, other))
        for asked in history.successes(Kind.INTROSPECT, token):
            if successes and asked.started > successes[0].ended:
                rule = "a refresh token was active beside its successor"
                yield Violation(rule, any_of_them.grant, (successes[0], asked))


def nobody_is_told_to_drop_a_token(history: History) -> Iterator[Violation]:
    """Trouble of the store is never a client's fault: success, or 503 with Retry-After."""
    for each in history.operations:
        if not (each.succeeded or each.unavailable or history.is_deserved(each)):
            rule = "a client that did nothing wrong was refused"
            story = (*_what_led_to(history, each), each)
            yield Violation(rule, each.grant, story)


def _what_led_to(history: History, refused: Operation) -> Iterable[Operation]:
    before = history.by_grant.get(refused.grant, [])
    return [each for each in before if each is not refused and each.started < refused.ended][-6:]


def every_answer_comes_in_time(history: History) -> Iterator[Violation]:
    """Every request gets an answer, and gets it within the limit."""
    for each in history.operations:
        if each.status == 0 or each.ended - each.started > history.terms.limit:
            rule = "an answer did not come in time"
            yield Violation(rule, each.grant, (each,), may_be_lost=False)


def trouble_has_an_end(history: History) -> Iterator[Violation]:
    """The gateway recovers by itself: once the store is well, nobody is told to come again."""
    for each in history.operations:
        if each.unavailable and each.started > history.terms.calm:
            rule = "a client was told to come again when the trouble was over"
            yield Violation(rule, each.grant, (each,), may_be_lost=False)


def who_keeps_trying_gets_a_token(history: History) -> Iterator[Violation]:
    """The last thing that every client did was to use a token that worked."""
    last = {each.client: each for each in history.operations}
    for each in last.values():
        if not (each.kind is Kind.USE and each.succeeded):
            rule = "a client kept trying and has no working token"
            yield Violation(rule, each.grant, (each,), may_be_lost=False)


RULES: tuple[Rule, ...] = (
    a_code_succeeds_once,
    what_is_ended_stays_ended,
    a_grant_has_one_refresh_token,
    nobody_is_told_to_drop_a_token,
    every_answer_comes_in_time,
    trouble_has_an_end,
    who_keeps_trying_gets_a_token,
)


@dataclass
class _Loss:
    """The grants that the store may have set back: it changed them while it could lose changes."""

    history: History
    _known: dict[str, bool] = field(default_factory=dict)

    def explains(self, violation: Violation) -> bool:
        if not violation.may_be_lost:
            return False
        grant = violation.grant
        if grant not in self._known:
            self._known[grant] = any(map(self._may_be_lost, self.history.by_grant.get(grant, [])))
        return self._known[grant]

    def _may_be_lost(self, operation: Operation) -> bool:
        if operation.kind in {Kind.USE, Kind.INTROSPECT}:
            return False
        return any(
            operation.started <= end and operation.ended >= begin
            for begin, end in self.history.terms.losses
        )


def judge(operations: Iterable[Operation], terms: Terms) -> Verdict:
    """Return the violations in a history.

    ``operations`` are in the order in which they were answered.
    """
    history = History(tuple(operations), terms)
    loss = _Loss(history)
    found = [violation for rule in RULES for violation in rule(history)]
    return Verdict(
        tuple(each for each in found if not loss.explains(each)),
        tuple(each for each in found if loss.explains(each)),
    )
