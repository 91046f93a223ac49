"""Measures the store code of this checkout against that of another one, in one run.

    python bench/versions.py OTHER_CHECKOUT

Both validate and refresh grants of their own on the same servers, in turns, in a process each.
Printed is the time of an operation (the median of the rounds), and the ratio of the two; then the
same for the processor time of the process (the least of the rounds). Other work on the machine
disturbs the second less.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parents[1]
ROUNDS = 25
THREADS = 8
REPEATS = {"validate": 4, "rotate": 2}


class Cost(NamedTuple):
    """Of one operation: how long it took, and how long the process was at work for it (µs)."""

    time: float
    work: float


def main() -> None:
    """Measure, and print a table as Markdown."""
    sys.path.insert(0, str(HERE))
    topologies: Any = import_module("tests.faults.topologies")
    other = Path(sys.argv[1]).resolve()
    print("| | threads | other, µs | this, µs | ratio | work: other, µs | this, µs | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        node = stack.enter_context(topologies.one_node(folder / "node"))
        shared = stack.enter_context(topologies.cluster(folder / "cluster"))
        for where, url in (
            ("one node", f"redis://127.0.0.1:{node.port}"),
            ("cluster", shared.url),
        ):
            with _worker(other, url) as theirs, _worker(HERE, url) as ours:
                for operation in REPEATS:
                    for threads in (1, THREADS):
                        found = _compare(f"{operation} {threads}", theirs, ours)
                        print(f"| {where}, {operation} | {threads} | {found} |", flush=True)


def _compare(order: str, *workers: subprocess.Popen[str]) -> str:
    costs: list[list[Cost]] = [[] for _ in workers]
    for turn in range(ROUNDS):
        # Each goes first as often as the other.
        for number in (0, 1) if turn % 2 else (1, 0):
            costs[number].append(_measured(workers[number], order))
    cells = []
    for theirs, ours in (
        [statistics.median(each.time for each in of) for of in costs],
        [min(each.work for each in of) for of in costs],
    ):
        cells += [f"{theirs:.0f}", f"{ours:.0f}", f"{ours / theirs:.2f}"]
    return " | ".join(cells)


@contextmanager
def _worker(checkout: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--worker", str(checkout), url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def _measured(worker: subprocess.Popen[str], order: str) -> Cost:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{order}\n")
    worker.stdin.flush()
    return Cost(*map(float, worker.stdout.readline().split()))


def work(checkout: str, url: str) -> None:
    """Do what standard input says, with the store code of a checkout; print what it cost."""
    sys.path.insert(0, checkout)
    # Names of bench/stores.py that every version has.
    stores: Any = import_module("bench.stores")
    stand = stores._stand("one", url, [])  # noqa: SLF001 - it is private to that program, and so is this
    stand.fill()
    print("ready", flush=True)
    with ThreadPoolExecutor(THREADS) as pool:
        for order in sys.stdin:
            operation, threads = order.split()
            repeats, run = REPEATS[operation], partial(getattr(stores.Stand, operation), stand)
            started, worked = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                list((pool.map if int(threads) > 1 else map)(run, range(stores.GRANTS)))
            count = repeats * stores.GRANTS
            seconds = time.perf_counter() - started, time.process_time() - worked
            print(*(each / count * 1e6 for each in seconds), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work(*sys.argv[2:])
    else:
        main()
