"""Limits on guessing: attempts are counted in the store, so that every worker agrees."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from gateway.store.deadline_connection import Command
from gateway.store.digest import digest
from gateway.store.redis_client import RedisClient


@dataclass(slots=True, eq=False)
class TooMany(Exception):  # noqa: N818 - said of attempts
    """The limit is reached; ``retry_after`` is seconds until the window ends.

    ``client_id`` is for the audit log: the client in whose name it was tried.
    """

    retry_after: int
    client_id: str | None = None


class AttemptLimit:
    """At most ``limit`` attempts at one thing by one party in ``window_seconds``.

    ``what`` names the thing in the store's keys; ``who`` below is, say, a name and an
    address, and appears there as a digest. ``beside`` gives the key in whose slot of a cluster
    the count is kept, by the first of ``who``.
    """

    def __init__(
        self,
        redis: RedisClient,
        key_prefix: str,
        what: str,
        *,
        limit: int,
        window_seconds: int,
        slot_key: Callable[[str], str] | None = None,
    ) -> None:
        self._redis = redis
        self._prefix = f"{key_prefix}:attempts:{what}:"
        self._limit = limit
        self._window_ms = window_seconds * 1000
        self._slot_key = slot_key

    def count(self, *who: str) -> None:
        """Count an attempt before it is judged. Raises TooMany past the limit."""
        arguments = (self._window_ms, secrets.token_urlsafe(6), self._limit)
        count, milliseconds = self._redis.run("count_attempt", [self._key(who)], arguments)
        if count > self._limit:
            raise TooMany(max(1, -(-milliseconds // 1000)))

    def clear(self, *who: str) -> None:
        """Forget the attempts: the last one was right."""
        self._redis.command("DEL", self._key(who))

    def _key(self, who: tuple[str, ...]) -> str:
        slot = f"{{{self._slot_key(who[0])}}}:" if self._slot_key is not None else ""
        return self._prefix + slot + digest(json.dumps(who))


class FailureLimit(AttemptLimit):
    """A limit on failures: what goes right is not counted, and stopped by the others' failures.

    To look is one SCARD, which :meth:`count_command` lets be sent along with something else.
    """

    def count_command(self, *who: str) -> Command:
        """Return the command whose answer :meth:`check_count` wants."""
        return ("SCARD", self._key(who))

    def check_count(self, failures: int, *who: str) -> None:
        """Raise TooMany while ``who`` is stopped; ``failures`` answers :meth:`count_command`."""
        if failures > self._limit:
            milliseconds = self._redis.command("PTTL", self._key(who))
            raise TooMany(max(1, -(-milliseconds // 1000)))

    def check(self, *who: str) -> None:
        """Raise TooMany while ``who`` is stopped."""
        self.check_count(self._redis.command(*self.count_command(*who)), *who)
