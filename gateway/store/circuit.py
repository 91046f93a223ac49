"""A circuit breaker: a dead store is asked by one request at a time, not by all of them.

Closed, it lets everything through. After a few failures in a row it opens, and requests fail
at once instead of waiting for a timeout each. Every so often one of them is let through to
see; the first success closes it again.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

_FAILURES_TO_OPEN = 5


class CircuitOpen(Exception):  # noqa: N818 - the state's name
    """Not asked: what was asked before did not answer."""


class Circuit:
    """The state of one server.

    Its fields are set without a lock: the worst that a race does is one request more, or one
    probe less.
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
        # This one is the probe; the next one has to wait for its outcome.
        self._next_probe = now + self._probe_seconds

    def succeeded(self) -> None:
        """Close the circuit: there was an answer."""
        if self._failures:
            self._failures = 0

    def failed(self) -> None:
        """Count a request that got no answer in time."""
        self._failures += 1
        if self._failures == _FAILURES_TO_OPEN:
            self._next_probe = self._clock() + self._probe_seconds
