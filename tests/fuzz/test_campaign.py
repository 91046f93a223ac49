"""The fuzzers themselves: cases can be made again, failures are made small and kept."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.__main__ import PLAN, main
from tests.fuzz.campaign import Case, Complaint, Fuzzer, read_case, run
from tests.fuzz.shrink import smallest


def make(number: int, random: Random) -> Case:
    return Case(random.randbytes(20), number)


def a_fuzzer_that_dislikes(byte: bytes) -> Fuzzer:
    def check(case: Case, tally: Counter[str]) -> Complaint | None:
        tally["seen"] += 1
        return Complaint("disliked", repr(case.data)) if byte in case.data else None

    return Fuzzer("test", make, check)


def test_the_smallest_input_is_what_the_failure_needs() -> None:
    data = b"GET / HTTP/1.1\r\nHost: h\r\nX-A: b\r\nX-C: d\r\n\r\nbody"
    assert smallest(data, lambda data: b"X-A" in data and b"\r\n\r\n" in data) == b"X-A\r\n\r\n"


def test_a_campaign_finds_a_failure_once_and_makes_it_small() -> None:
    outcome = run(a_fuzzer_that_dislikes(b"\x07"), seed=1, count=500)
    assert [failure.case for failure in outcome.failures] == [Case(b"\x07")]
    assert (outcome.cases, outcome.tally["seen"]) == (500, 500)


def test_the_seed_makes_the_cases() -> None:
    seen: list[list[Case]] = []
    for seed in (1, 1, 2):
        cases: list[Case] = []
        seen.append(cases)

        def check(case: Case, tally: Counter[str], cases: list[Case] = cases) -> None:
            cases.append(case)

        run(Fuzzer("test", make, check), seed=seed, count=5)
    assert seen[0] == seen[1] != seen[2]


def test_time_bounds_a_campaign() -> None:
    outcome = run(a_fuzzer_that_dislikes(b""), seed=1, count=500, seconds=0)
    assert (outcome.cases, outcome.failures) == (0, [])


def test_a_failure_is_written_so_that_it_can_be_read_again(tmp_path: Path) -> None:
    (failure,) = run(a_fuzzer_that_dislikes(b"\xff"), seed=1, count=500).failures
    assert read_case(failure.write(tmp_path / "failures")) == ("test", failure.case)


def test_the_plan_is_as_large_as_was_ever_tried() -> None:
    assert PLAN["heads"].count >= 220_000
    assert PLAN["redirects"].count >= 558
    assert PLAN["live"].count >= 12_000


def test_the_command_prints_its_seed_and_totals(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "heads", "--seconds", "0.2", "--seed", "7"]) == 0
    printed = capsys.readouterr().out
    assert "seed 7, at most 0.2 seconds" in printed
    assert "of 220,000 cases" in printed
