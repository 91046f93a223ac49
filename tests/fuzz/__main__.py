"""All fuzzers, one after the other: ``python -m tests.fuzz --seconds 600 --seed 7``.

Prints the seed and what was done. The smallest input of each kind of failure goes to a file in
``fuzz-failures``; ``--again FILE`` runs that one again. The exit code is 1 if anything failed.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import campaign
from tests.fuzz.campaign import Fuzzer, Outcome
from tests.fuzz.heads import fuzzer as heads
from tests.fuzz.live import fuzzer as live
from tests.fuzz.live.stand import live_stand
from tests.fuzz.redirects import fuzzer as redirects
from tests.fuzz.redirects.corpus import CORPUS
from tests.fuzz.redirects.endpoint import endpoint

_FAILURES = Path("fuzz-failures")


@dataclass(frozen=True)
class Planned:
    """A fuzzer to run: how it is opened, how many cases, and its share of the time."""

    open: Callable[[Path], AbstractContextManager[Fuzzer]]
    count: int
    share: int


@contextmanager
def _redirects(folder: Path) -> Iterator[Fuzzer]:
    with endpoint(folder) as asked:
        yield redirects.fuzzer(asked)


@contextmanager
def _heads(folder: Path) -> Iterator[Fuzzer]:
    yield heads.fuzzer()


@contextmanager
def _live(folder: Path) -> Iterator[Fuzzer]:
    with live_stand(folder) as stand:
        yield live.fuzzer(stand)


PLAN = {
    "redirects": Planned(_redirects, len(CORPUS) + 3000, 2),
    "heads": Planned(_heads, 220_000, 5),
    "live": Planned(_live, 12_000, 3),
}


def run_all(names: Iterable[str], seed: int, seconds: float) -> Iterator[Outcome]:
    """Run these fuzzers; what one leaves of its time is there for the others."""
    left = {name: PLAN[name] for name in names}
    until = time.monotonic() + seconds
    while left:
        shares = sum(planned.share for planned in left.values())
        name = next(iter(left))
        planned = left.pop(name)
        with _opened(planned) as fuzzer:
            allowed = (until - time.monotonic()) * planned.share / shares
            yield campaign.run(fuzzer, seed=seed, count=planned.count, seconds=allowed)


@contextmanager
def _opened(planned: Planned) -> Iterator[Fuzzer]:
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        planned.open(Path(folder)) as fuzzer,
    ):
        yield fuzzer


def run_again(path: Path) -> int:
    """Run the case in a file that an earlier run wrote; return the exit code."""
    name, case = campaign.read_case(path)
    with _opened(PLAN[name]) as fuzzer:
        complaint = fuzzer.check(case, Counter())
    say(f"{complaint.kind}\n  {complaint.detail}" if complaint else "all is well")
    return 1 if complaint else 0


def main(arguments: Iterable[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=600.0, help="the longest that all may take"
    )
    parser.add_argument("--seed", type=int, default=None, help="to see the same cases again")
    parser.add_argument("--only", choices=PLAN, default=None)
    parser.add_argument("--again", type=Path, default=None, metavar="FILE")
    asked = parser.parse_args(None if arguments is None else list(arguments))
    if asked.again is not None:
        return run_again(asked.again)
    seed = random.randrange(10**6) if asked.seed is None else asked.seed
    say(f"seed {seed}, at most {asked.seconds:g} seconds")
    failed = False
    for outcome in run_all([asked.only] if asked.only else PLAN, seed, asked.seconds):
        say(str(outcome))
        for failure in outcome.failures:
            say(f"{failure}\n  written to {failure.write(_FAILURES)}")
        failed = failed or bool(outcome.failures)
    return 1 if failed else 0


def say(text: str) -> None:
    """Print at once: fuzzers are watched."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
