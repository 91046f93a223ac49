"""Finds the settings of a store that can lose grants, and says so in words.

At the start, by the health endpoint, and on demand (``gateway check --store``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import NamedTuple

from redis.exceptions import NoPermissionError, ResponseError

from gateway.store.node import RedisNode
from gateway.store.redis_client import RedisClient, StoreUnavailable

logger = logging.getLogger("gateway.store")

# Redis 7.0 brought scripts that declare their flags; the first release of Valkey has them.
_OLDEST = {"redis": (7, 0), "valkey": (7, 2)}

_REFRESH_SECONDS = 60.0

Info = Mapping[str, str]


class StoreWarning(NamedTuple):
    """What is wrong with a server, and its name."""

    server: str
    text: str


def store_warnings(redis: RedisClient) -> list[StoreWarning]:
    """Ask every primary for its settings; return a warning for each that can lose grants.

    Raises StoreUnavailable, also if a server refuses the login or has no such database.
    """
    return [
        StoreWarning(node.name, text) for node in redis.nodes() for text in _warnings(redis, node)
    ]


def _require_reply(redis: RedisClient, node: RedisNode) -> None:
    """Raise StoreUnavailable if the server refuses more than single commands (a login, say)."""
    try:
        redis.command_at(node, "PING")
    except StoreUnavailable as error:
        # The gateway's own user may do without PING.
        if not isinstance(error.__cause__, NoPermissionError):
            raise


def _warnings(redis: RedisClient, node: RedisNode) -> Iterator[str]:
    _require_reply(redis, node)
    info = _info(redis, node)
    if info is None:
        yield (
            "it does not say how it is set up, so it is not known whether it can lose grants."
            " Let the gateway's user ask INFO."
        )
        return
    for rule in _RULES:
        yield from rule(info)
    if info.get("aof_enabled") == "0":
        yield _no_append_only_file(_snapshots(redis, node))


def _info(redis: RedisClient, node: RedisNode) -> Info | None:
    """Return the members of INFO, or ``None`` if the gateway's user may not ask."""
    try:
        reply = redis.command_at(node, "INFO")
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, ResponseError):
            raise
        return None
    pairs = (line.partition(":") for line in reply.splitlines())
    return {name: value for name, colon, value in pairs if colon}


def _version(info: Info) -> Iterator[str]:
    """The gateway's scripts declare their flags. A server of another kind is not judged."""
    server = info.get("server_name", "redis")
    version = info.get(f"{server}_version", "0")
    oldest = _OLDEST.get(server)
    if oldest is None:
        return
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < oldest:
        needed = ".".join(map(str, oldest))
        yield f"{server} {version} is too old: the gateway's scripts need {needed} or later."


def _role(info: Info) -> Iterator[str]:
    """A replica may not know of a revocation yet."""
    if info.get("role") != "master":
        yield (
            "it is a replica: its replies may be out of date, and it refuses changes."
            " store.url must lead to the primary, or to Sentinel."
        )


def _eviction(info: Info) -> Iterator[str]:
    """A token must not be deleted to make room for another."""
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            f"maxmemory-policy is {policy}: when memory runs out, grants are thrown away and"
            " users logged out. Set it to noeviction."
        )


_RULES: tuple[Callable[[Info], Iterator[str]], ...] = (_version, _role, _eviction)


def _snapshots(redis: RedisClient, node: RedisNode) -> str | None:
    """Return when snapshots are made, empty for never; ``None`` if the server does not say."""
    try:
        reply = redis.command_at(node, "CONFIG", "GET", "save")
    except StoreUnavailable:
        # Hosted stores often refuse CONFIG.
        return None
    return str(reply[1]) if len(reply) > 1 else None


def _no_append_only_file(snapshots: str | None) -> str:
    if snapshots is None:
        return (
            "it has no append-only file: a crash loses grants and revocations, perhaps all of"
            " them. Set appendonly to yes."
        )
    if not snapshots:
        return "nothing is written to disk: a restart loses every grant. Set appendonly to yes."
    return (
        "only snapshots are written to disk: a crash loses every grant and every"
        " revocation since the last one. Set appendonly to yes."
    )


class StoreDiagnostics:
    """The warnings for callers that ask often. The store is asked once in `_REFRESH_SECONDS`."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._warnings: list[StoreWarning] = []
        self._next_refresh = 0.0
        self._refreshing = threading.Lock()

    def warnings(self) -> list[StoreWarning]:
        """Return the warnings of at most a minute ago; while the store does not reply, the last.

        New warnings are logged.
        """
        if monotonic() >= self._next_refresh and self._refreshing.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._refreshing.release()
        return self._warnings

    def _refresh(self) -> None:
        self._next_refresh = monotonic() + _REFRESH_SECONDS
        try:
            warnings = store_warnings(self._redis)
        except StoreUnavailable:
            self._next_refresh = 0.0
            return
        for warning in warnings:
            if warning not in self._warnings:
                logger.warning("the store can lose grants: %s: %s", *warning)
        self._warnings = warnings
