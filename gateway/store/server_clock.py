"""What a process knows of a server's clock: asked once a second, counted on in between.

Gateways need not agree about the time, so what is kept in the store has the store's times. To
ask for the clock with every read would cost a read a tenth more.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

# A clock that was set anew, and a virtual machine that stood still, are noticed after this (s).
_ASK_AGAIN_SECONDS = 1.0


class ServerClock:
    """The clock of one server. Threads share it: each change is one assignment."""

    def __init__(self) -> None:
        # When it was asked last (monotonic, s), and the server's time at that moment (ms).
        self._asked: tuple[float, int] = (-_ASK_AGAIN_SECONDS, 0)

    def is_known(self) -> bool:
        """Tell whether it was asked within the last second."""
        return monotonic() - self._asked[0] < _ASK_AGAIN_SECONDS

    def take(self, reply: Sequence[str], asked_at: float) -> None:
        """Take the reply to TIME; ``asked_at`` is when it was asked (monotonic).

        The server read its clock after that. So :meth:`now_ms` is never behind the server's
        clock, and ahead of it by no more than the reply took.
        """
        seconds, microseconds = reply
        self._asked = asked_at, int(seconds) * 1000 + int(microseconds) // 1000

    def now_ms(self) -> int:
        """Return the server's time (ms since the epoch)."""
        asked_at, milliseconds = self._asked
        return milliseconds + int((monotonic() - asked_at) * 1000)
