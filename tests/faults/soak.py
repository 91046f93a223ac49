"""Trouble for minutes: ``python -m tests.faults.soak --minutes 5 --store one-node``.

Prints the operations, the faults and the violations of the rules as Markdown. The exit code is 1 if
there was a violation.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.faults.history import Kind
from tests.faults.troubles import STANDS
from tests.faults.workload import Outcome, gateway_on, run


def table_of(outcome: Outcome) -> str:
    """Return the figures of a run as Markdown."""
    return "\n".join([*_operations(outcome), "", *_troubles(outcome), "", *_verdict(outcome)])


def _operations(outcome: Outcome) -> Iterator[str]:
    yield "| operation | requests | succeeded | 503 | other | median, ms | slowest, ms |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name, kinds in [*((kind.value, {kind}) for kind in Kind), ("all", set(Kind))]:
        asked = [each for each in outcome.operations if each.kind in kinds]
        succeeded = sum(each.succeeded for each in asked)
        unavailable = sum(each.unavailable for each in asked)
        seconds = sorted(each.ended - each.started for each in asked) or [0.0]
        other = len(asked) - succeeded - unavailable
        median, slowest = 1000 * seconds[len(seconds) // 2], 1000 * seconds[-1]
        numbers = (f"{each:,}" for each in (len(asked), succeeded, unavailable, other))
        yield _row(name, *numbers, f"{median:.0f}", f"{slowest:,.0f}")


def _troubles(outcome: Outcome) -> Iterator[str]:
    yield "| fault | times | seconds |"
    yield "| --- | ---: | ---: |"
    times = Counter(each.name for each in outcome.troubles)
    for name in sorted(times):
        lasted = sum(each.ended - each.began for each in outcome.troubles if each.name == name)
        yield _row(name, str(times[name]), f"{lasted:.1f}")
    all_of_them = sum(each.ended - each.began for each in outcome.troubles)
    yield _row("all", f"{len(outcome.troubles):,}", f"{all_of_them:.1f}")


def _verdict(outcome: Outcome) -> Iterator[str]:
    grants = len({each.grant for each in outcome.operations if each.kind is Kind.REDEEM})
    yield f"Grants: {grants:,}. Requests and replies that a fault of the network met:"
    yield f"{outcome.met:,}. Explained by writes that a failover lost: {len(outcome.verdict.lost)}."
    yield f"Violations: {len(outcome.verdict.violations)}."


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Iterable[str] | None = None) -> int:
    """Run the soak that the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--store", choices=STANDS, default="one-node")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None, help="to see the same faults again")
    asked = parser.parse_args(None if arguments is None else list(arguments))
    seed = random.randrange(10**6) if asked.seed is None else asked.seed
    say(f"## {asked.store}, {asked.minutes:g} minutes, {asked.clients} clients, seed {seed}\n")
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        folder = Path(name)
        with (
            STANDS[asked.store](folder / "store") as stand,
            gateway_on(stand, folder / "gateway") as running,
        ):
            seconds = 60 * asked.minutes
            outcome = run(stand, running, seconds, actors=asked.clients, seed=seed)
    say(table_of(outcome))
    for violation in outcome.verdict.violations:
        say(f"\n{violation}")
    return 1 if outcome.verdict.violations else 0


def say(text: str) -> None:
    """Print at once, because somebody watches a soak."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
