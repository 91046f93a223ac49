"""A refresh that threads share: one at a time, and never older than a thread's wish for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from gateway.store import single_flight
from gateway.store.single_flight import SingleFlight
from tests.support.serving import until


class Refresh:
    """Counts its runs; each waits until the test lets it finish."""

    def __init__(self) -> None:
        self.runs = 0
        self.may_finish = threading.Event()

    def __call__(self, deadline: float) -> None:
        self.runs += 1
        assert self.may_finish.wait(10)


@pytest.fixture
def refresh() -> Refresh:
    return Refresh()


@pytest.fixture
def threads(refresh: Refresh) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as threads:
        yield threads
        refresh.may_finish.set()


def test_threads_that_want_it_at_once_share_one_refresh(
    refresh: Refresh, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: list[float] = []

    def note_wish() -> float:
        wishes.append(monotonic())
        return wishes[-1]

    monkeypatch.setattr(single_flight, "monotonic", note_wish)
    flight = SingleFlight(refresh)
    running = [threads.submit(flight.run, monotonic() + 10) for _ in range(8)]
    until(lambda: len(wishes) == 8)
    refresh.may_finish.set()
    for each in running:
        each.result()
    assert refresh.runs == 1


def test_a_thread_that_wants_it_later_does_not_use_an_older_one(refresh: Refresh) -> None:
    flight = SingleFlight(refresh)
    refresh.may_finish.set()
    for count in range(1, 4):
        flight.run(monotonic() + 10)
        assert refresh.runs == count


def test_no_thread_waits_for_another_ones_refresh_past_its_deadline(
    refresh: Refresh, threads: ThreadPoolExecutor
) -> None:
    flight = SingleFlight(refresh)
    running = threads.submit(flight.run, monotonic() + 10)
    until(lambda: refresh.runs == 1)
    started = monotonic()
    flight.run(started + 0.05)
    flight.run(started - 1)
    flight.run_if_free(started + 10)
    assert monotonic() - started < 5
    assert refresh.runs == 1
    refresh.may_finish.set()
    running.result()


def test_a_free_refresh_runs_at_once_and_is_young_again(refresh: Refresh) -> None:
    flight = SingleFlight(refresh)
    refresh.may_finish.set()
    before = flight.age
    flight.run_if_free(monotonic() + 10)
    assert refresh.runs == 1
    assert flight.age < before


def test_a_refresh_that_raises_lets_the_next_one_run() -> None:
    def fail(deadline: float) -> None:
        raise ZeroDivisionError

    flight = SingleFlight(fail)
    for run in (flight.run, flight.run_if_free, flight.run):
        with pytest.raises(ZeroDivisionError):
            run(monotonic() + 10)
