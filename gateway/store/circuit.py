"""A circuit breaker: one request at a time asks a dead server, instead of all requests.

A closed circuit lets every request through. A few failures in a row open it; then requests fail
at once, and none of them waits for a timeout. From time to time an open circuit lets one request
through as a probe. The first success closes the circuit.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

_FAILURES_TO_OPEN = 5


class CircuitOpen(Exception):  # noqa: N818 - the state's name
    """The request was not sent, because the requests before it got no reply."""


class Circuit:
    """The circuit breaker of one server.

    Threads share it without a lock: a race costs one request too many, or one probe too few.
    """

    def __init__(self, probe_seconds: float, clock: Callable[[], float] = monotonic) -> None:
        self._probe_seconds = probe_seconds
        self._clock = clock
        self._failures = 0
        self._next_probe = 0.0

    @property
    def is_open(self) -> bool:
        """Whether only a probe is let through."""
        return self._failures >= _FAILURES_TO_OPEN

    def admit(self) -> None:
        """Let a request through, or raise CircuitOpen."""
        if not self.is_open:
            return
        now = self._clock()
        if now < self._next_probe:
            raise CircuitOpen
        # This request is the probe. The next probe waits for its outcome.
        self._next_probe = now + self._probe_seconds

    def record_success(self) -> None:
        """Close the circuit: the server replied."""
        if self._failures:
            self._failures = 0

    def record_failure(self) -> None:
        """Count a request that got no reply in time."""
        self._failures += 1
        if self._failures == _FAILURES_TO_OPEN:
            self._next_probe = self._clock() + self._probe_seconds
