"""Makes a failing input small, so that a person sees what it is about."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

#: Each try may cost a conversation with a server, and a server that does not answer costs more.
_MOST_TRIES = 1500
_MOST_SECONDS = 60.0


def smallest(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Drop lines, then bytes, as long as ``fails`` holds; return what is left."""
    tries = iter(range(_MOST_TRIES))
    until = time.monotonic() + _MOST_SECONDS

    def still_fails(parts: Sequence[bytes]) -> bool:
        may_try = next(tries, None) is not None and time.monotonic() < until
        return may_try and fails(b"".join(parts))

    lines = _without_what_is_not_needed(data.splitlines(keepends=True), still_fails)
    single = [bytes([byte]) for byte in b"".join(lines)]
    return b"".join(_without_what_is_not_needed(single, still_fails))


def _without_what_is_not_needed(
    parts: Sequence[bytes], still_fails: Callable[[Sequence[bytes]], bool]
) -> Sequence[bytes]:
    # Delta debugging (Zeller): first large pieces, then ever smaller ones.
    size = max(1, len(parts) // 2)
    while True:
        dropped = False
        start = 0
        while start < len(parts):
            rest = [*parts[:start], *parts[start + size :]]
            if still_fails(rest):
                parts, dropped = rest, True
            else:
                start += size
        if size == 1 and not dropped:
            return parts
        size = max(1, size // 2)
