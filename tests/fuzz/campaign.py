"""A fuzzing campaign: many cases made from one seed, each checked, the failing ones made small.

A case depends on the seed and on its number alone, so any of them can be made again.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.fuzz.shrink import smallest

#: A campaign ends when it has found so many kinds of failure.
_MOST_KINDS = 10


@dataclass(frozen=True)
class Case:
    """An input. ``way`` is a number that tells the fuzzer how to give ``data`` to the gateway."""

    data: bytes
    way: int = 0


@dataclass(frozen=True)
class Complaint:
    """What a case showed: the kind of the fault, and what was seen."""

    kind: str
    detail: str = ""


#: Gives the complaint about a case, or None if all is well. It counts in the tally.
Check = Callable[[Case, Counter[str]], Complaint | None]


@dataclass(frozen=True)
class Fuzzer:
    """What one campaign needs: how a case is made, and how it is checked."""

    name: str
    make: Callable[[int, Random], Case]
    check: Check


@dataclass(frozen=True)
class Failure:
    """A case that failed, as small as it could be made."""

    fuzzer: str
    seed: int
    number: int
    case: Case
    complaint: Complaint

    def __str__(self) -> str:
        """Give all that is needed to see it again."""
        return (
            f"{self.fuzzer}: {self.complaint.kind}\n"
            f"  {self.complaint.detail}\n"
            f"  seed {self.seed}, case {self.number}, way {self.case.way}, smallest input:\n"
            f"  {self.case.data!r}"
        )

    def write(self, folder: Path) -> Path:
        """Write it to a file of its own in ``folder``, for :func:`read_case`."""
        folder.mkdir(exist_ok=True)
        kind = "".join(each if each.isalnum() else "-" for each in self.complaint.kind)
        path = folder / f"{self.fuzzer}-{self.seed}-{kind}.json"
        members = {
            "fuzzer": self.fuzzer,
            "complaint": self.complaint.kind,
            "detail": self.complaint.detail,
            "way": self.case.way,
            "data": self.case.data.decode("latin-1"),
        }
        path.write_text(json.dumps(members, indent=2) + "\n")
        return path


def read_case(path: Path) -> tuple[str, Case]:
    """Return the name of the fuzzer and the case that :meth:`Failure.write` wrote."""
    members = json.loads(path.read_text())
    return members["fuzzer"], Case(members["data"].encode("latin-1"), members["way"])


@dataclass
class Outcome:
    """What a campaign did: how many cases of how many, in which time, with which result."""

    fuzzer: str
    wanted: int
    cases: int = 0
    seconds: float = 0.0
    tally: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        """Give the totals in one paragraph."""
        counts = [f"{count:,} {name}" for name, count in sorted(self.tally.items())]
        verdict = f"{len(self.failures)} kinds of failure"
        first = f"{self.fuzzer}: {self.cases:,} of {self.wanted:,} cases in {self.seconds:.1f} s"
        return "\n    ".join([f"{first}, {verdict}", *counts])


def cases(fuzzer: Fuzzer, seed: int, count: int) -> Iterator[Case]:
    """Make the cases of a seed, in the order of their numbers."""
    for number in range(count):
        yield fuzzer.make(number, Random(f"{seed}/{fuzzer.name}/{number}"))


def run(fuzzer: Fuzzer, *, seed: int, count: int, seconds: float = float("inf")) -> Outcome:
    """Run ``count`` cases, fewer if ``seconds`` have passed before.

    The outcome has one failure for each kind of complaint.
    """
    outcome = Outcome(fuzzer.name, count)
    kinds: set[str] = set()
    started = time.monotonic()
    for number, case in enumerate(cases(fuzzer, seed, count)):
        outcome.seconds = time.monotonic() - started
        if outcome.seconds >= seconds or len(kinds) >= _MOST_KINDS:
            break
        complaint = fuzzer.check(case, outcome.tally)
        outcome.cases += 1
        if complaint is not None and complaint.kind not in kinds:
            kinds.add(complaint.kind)
            outcome.failures.append(_smallest(fuzzer, seed, number, case, complaint))
    outcome.seconds = time.monotonic() - started
    return outcome


def _smallest(fuzzer: Fuzzer, seed: int, number: int, case: Case, complaint: Complaint) -> Failure:
    def complaint_of_kind(case: Case) -> Complaint | None:
        found = fuzzer.check(case, Counter())
        return found if found is not None and found.kind == complaint.kind else None

    if complaint_of_kind(plain := Case(case.data)):
        case = plain
    way = case.way
    data = smallest(case.data, lambda data: complaint_of_kind(Case(data, way)) is not None)
    found = complaint_of_kind(Case(data, way))
    # A fault that depends on time may be gone when the case is run again.
    return Failure(fuzzer.name, seed, number, Case(data, way), found or complaint)
