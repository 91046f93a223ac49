"""What about a store can lose grants, said in words: at start, by the probe, and on demand."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import NamedTuple

from redis.exceptions import ResponseError

from gateway.store.node import RedisNode
from gateway.store.redis_client import RedisClient, StoreUnavailable

logger = logging.getLogger("gateway.store")

# Scripts that declare their flags came with the one, and with the other's first release.
_OLDEST = {"redis": (7, 0), "valkey": (7, 2)}

_ASK_AGAIN_SECONDS = 60.0


class StoreWarning(NamedTuple):
    """What is wrong, and with which server."""

    server: str
    text: str


def store_warnings(redis: RedisClient) -> list[StoreWarning]:
    """Ask every primary how it is set up; return what can lose grants, nothing if all is well.

    Raises StoreUnavailable.
    """
    return [
        StoreWarning(node.name, text) for node in redis.nodes() for text in _warnings(redis, node)
    ]


def _warnings(redis: RedisClient, node: RedisNode) -> Iterator[str]:
    try:
        info = _members(redis.command_at(node, "INFO"))
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, ResponseError):
            raise
        yield (
            "it does not say how it is set up, so it is not known whether it can lose grants."
            " Let the gateway's user ask INFO."
        )
        return
    yield from _version(info)
    if info.get("role") != "master":
        yield (
            "it is a replica: what it answers may be out of date, and it refuses changes."
            " store.url must lead to the primary, or to Sentinel."
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            f"maxmemory-policy is {policy}: when memory runs out, grants are thrown away and"
            " users logged out. Set it to noeviction."
        )
    if info.get("aof_enabled") == "0":
        saves = _saves(redis, node)
        if saves is None:
            yield (
                "it has no append-only file: a crash loses grants and revocations, perhaps all of"
                " them. Set appendonly to yes."
            )
        elif saves == "":
            yield (
                "nothing is written to disk: a restart loses every grant. Set appendonly to yes."
            )
        else:
            yield (
                "only snapshots are written to disk: a crash loses every grant and every"
                " revocation since the last one. Set appendonly to yes."
            )


def _version(info: Mapping[str, str]) -> Iterator[str]:
    server = info.get("server_name", "redis")
    version = info.get(f"{server}_version", "0")
    oldest = _OLDEST.get(server)
    if oldest is None:
        return
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < oldest:
        needed = ".".join(map(str, oldest))
        yield f"{server} {version} is too old: the gateway's scripts need {needed} or later."


def _saves(redis: RedisClient, node: RedisNode) -> str | None:
    """Return when snapshots are made, empty for never, ``None`` where that is kept secret."""
    try:
        answer = redis.command_at(node, "CONFIG", "GET", "save")
    except StoreUnavailable:
        # Hosted stores do not let their settings be seen.
        return None
    return str(answer[1]) if len(answer) > 1 else None


def _members(info: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in info.splitlines())
    return {name: value for name, colon, value in pairs if colon}


class StoreCheck:
    """The warnings for those who ask often; the store is asked once a minute."""

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis
        self._found: list[StoreWarning] = []
        self._next = 0.0
        self._asking = threading.Lock()

    def warnings(self) -> list[StoreWarning]:
        """Return what was found at most a minute ago; log what is new.

        While the store does not answer, that is what was found before.
        """
        if monotonic() >= self._next and self._asking.acquire(blocking=False):
            try:
                self._next = monotonic() + _ASK_AGAIN_SECONDS
                found = store_warnings(self._redis)
                for warning in found:
                    if warning not in self._found:
                        logger.warning("the store can lose grants: %s: %s", *warning)
                self._found = found
            except StoreUnavailable:
                self._next = 0.0
            finally:
                self._asking.release()
        return self._found
