"""Limits on guessing. Attempts are counted in the store, so that every worker agrees."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from gateway.store.deadline_connection import Command
from gateway.store.digest import digest
from gateway.store.redis_client import RedisClient, script

_COUNT_ATTEMPT = script("gateway.store", "count_attempt")


class _Counted(NamedTuple):
    """The reply of count_attempt: attempts in this window, and ms until the window ends."""

    attempts: int
    left_ms: int


@dataclass(slots=True, eq=False)
class TooMany(Exception):  # noqa: N818 - said of attempts
    """The limit is reached; ``retry_after`` is seconds until the window ends.

    ``client_id`` is for the audit log: the client in whose name the attempt was made.
    """

    retry_after: int
    client_id: str | None = None


class AttemptLimit:
    """At most ``limit`` attempts of one kind by one party in ``window_seconds``.

    ``kind`` names the kind of attempt in the store's keys. A party is one or more names, say a
    user's name and an address; the keys have a digest of them. ``slot_key`` takes the first of
    these names and returns a key; a cluster keeps the count in the slot of that key.
    """

    def __init__(
        self,
        redis: RedisClient,
        key_prefix: str,
        kind: str,
        *,
        limit: int,
        window_seconds: int,
        slot_key: Callable[[str], str] | None = None,
    ) -> None:
        self._redis = redis
        self._prefix = f"{key_prefix}:attempts:{kind}:"
        self._limit = limit
        self._window_ms = window_seconds * 1000
        self._slot_key = slot_key

    def count(self, *party: str) -> str:
        """Count an attempt before it is judged; return its id. Raises TooMany past the limit."""
        attempt_id = secrets.token_urlsafe(6)
        arguments = (self._window_ms, attempt_id, self._limit)
        counted = _Counted(*self._redis.run(_COUNT_ATTEMPT, [self._key(party)], arguments))
        if counted.attempts > self._limit:
            raise _too_many(counted.left_ms)
        return attempt_id

    def clear(self, *party: str) -> None:
        """Forget the attempts of a party: the last one was right."""
        self._redis.command("DEL", self._key(party))

    def _key(self, party: tuple[str, ...]) -> str:
        slot = f"{{{self._slot_key(party[0])}}}:" if self._slot_key is not None else ""
        return self._prefix + slot + digest(json.dumps(party))


class FailureLimit(AttemptLimit):
    """A limit on failures: a success is forgiven, but is refused while the limit is reached.

    To look at the count is one SCARD, which can be sent along with other commands
    (:meth:`count_command`).
    """

    def count_command(self, *party: str) -> Command:
        """Return the command whose reply :meth:`check_count` takes."""
        return ("SCARD", self._key(party))

    def check_count(self, failures: int, *party: str) -> None:
        """Raise TooMany if ``failures``, the reply to :meth:`count_command`, are too many."""
        if failures > self._limit:
            raise _too_many(self._redis.command("PTTL", self._key(party)))

    def forgive(self, attempt_id: str, *party: str) -> None:
        """Count an attempt no more: it was no failure."""
        self._redis.command("SREM", self._key(party), attempt_id)


def _too_many(left_ms: int) -> TooMany:
    return TooMany(max(1, -(-left_ms // 1000)))
