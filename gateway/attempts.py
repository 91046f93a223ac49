"""Limits on guessing: attempts are counted in the store, so that every worker agrees."""

from __future__ import annotations

import json
from dataclasses import dataclass
from time import monotonic

from gateway.redis_link import RedisLink
from gateway.tokens import digest

_PAIRS_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class TooMany(Exception):  # noqa: N818 - said of attempts
    """The limit is reached; ``retry_after`` is seconds until the window ends."""

    retry_after: int


class AttemptLimit:
    """At most ``limit`` attempts at one thing by one party in ``window_seconds``.

    ``what`` names the thing in the store's keys; ``who`` below is, say, a name and an
    address, and appears there as a digest.
    """

    def __init__(
        self, link: RedisLink, key_prefix: str, what: str, *, limit: int, window_seconds: int
    ) -> None:
        self._link = link
        self._prefix = f"{key_prefix}:attempts:{what}:"
        self._limit = limit
        self._window_ms = window_seconds * 1000

    def count(self, *who: str) -> None:
        """Count an attempt before it is judged. Raises TooMany past the limit."""
        count, milliseconds = self._link.run("count_attempt", [self._key(who)], [self._window_ms])
        if count > self._limit:
            raise TooMany(max(1, -(-milliseconds // 1000)))

    def clear(self, *who: str) -> None:
        """Forget the attempts: the last one was right."""
        self._link.command("DEL", self._key(who))

    def _key(self, who: tuple[str, ...]) -> str:
        return self._prefix + digest(json.dumps(who))


class FailureLimit:
    """A limit on failures that costs nothing where none happen.

    A failure is counted in the store, and what the store said is remembered here. So a
    worker may let one guess through that the others would have stopped, and no more: that
    one is counted, and the answer is the count of all workers together.
    """

    def __init__(self, limit: AttemptLimit) -> None:
        self._limit = limit
        self._stopped_until: dict[tuple[str, ...], float] = {}

    def check(self, *who: str) -> None:
        """Raise TooMany while ``who`` is stopped."""
        until = self._stopped_until.get(who)
        if until is None:
            return
        left = until - monotonic()
        if left > 0:
            raise TooMany(int(left) + 1)
        self._stopped_until.pop(who, None)

    def failed(self, *who: str) -> None:
        """Count a failure. Raises TooMany past the limit."""
        try:
            self._limit.count(*who)
        except TooMany as stop:
            if len(self._stopped_until) >= _PAIRS_REMEMBERED:
                self._stopped_until.clear()
            self._stopped_until[who] = monotonic() + stop.retry_after
            raise
