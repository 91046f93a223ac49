"""The circuit breaker of a server that does not reply."""

from __future__ import annotations

import pytest

from gateway.store.circuit import Circuit, CircuitOpen

PROBE_SECONDS = 0.5


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuit(clock: Clock) -> Circuit:
    return Circuit(PROBE_SECONDS, clock)


def fail(circuit: Circuit, times: int) -> None:
    for _ in range(times):
        circuit.admit()
        circuit.record_failure()


def test_a_few_failures_in_a_row_open_it(circuit: Circuit) -> None:
    fail(circuit, 5)
    assert circuit.is_open
    with pytest.raises(CircuitOpen):
        circuit.admit()


def test_failures_with_a_success_between_them_do_not_open_it(circuit: Circuit) -> None:
    for _ in range(3):
        fail(circuit, 4)
        circuit.record_success()
    assert not circuit.is_open
    circuit.admit()


def test_an_open_one_lets_one_probe_through_from_time_to_time(
    circuit: Circuit, clock: Clock
) -> None:
    fail(circuit, 5)
    for _ in range(3):
        clock.now += PROBE_SECONDS
        circuit.admit()
        with pytest.raises(CircuitOpen):
            circuit.admit()
        circuit.record_failure()
        with pytest.raises(CircuitOpen):
            circuit.admit()


def test_the_first_success_closes_it(circuit: Circuit, clock: Clock) -> None:
    fail(circuit, 5)
    clock.now += PROBE_SECONDS
    circuit.admit()
    circuit.record_success()
    assert not circuit.is_open
    for _ in range(3):
        circuit.admit()
