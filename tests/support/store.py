"""What a gateway keeps, seen from beside it: its keys, and time that passes for one grant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from gateway.store.embedded import EmbeddedStore

#: Members of a grant that are times, in seconds or ms, and lists of names with times in ms.
_TIMES_S = ("since", "used", "listed")
_TIMES_MS = ("ends",)
_LISTS_MS = ("access", "revoked", "rotated")


def grant_id(token: str) -> str:
    """Return the id of the grant that a code or token belongs to; it is no secret."""
    return token[4:24]


@contextmanager
def embedded(data_dir: Path) -> Iterator[Redis]:
    """Connect to the embedded store in ``data_dir``, which the gateways there share."""
    store = EmbeddedStore(data_dir)
    redis = Redis(
        unix_socket_path=str(store.ensure_running()), decode_responses=True, socket_timeout=20
    )
    try:
        yield redis
    finally:
        redis.close()
        store.release()


def grant_key(grant: str) -> str:
    """Return the key of a grant."""
    return f"gateway:{{{grant}}}"


def keys_of(redis: Redis, grant: str) -> list[str]:
    """Return every key of a grant."""
    return list(redis.scan_iter(match=f"{grant_key(grant)}*", count=1000))


def stored_grant(redis: Redis, grant: str) -> dict[str, Any]:
    """Return a grant as it is kept, or the record of its end."""
    stored = redis.get(grant_key(grant))
    assert isinstance(stored, str)
    members: dict[str, Any] = json.loads(stored)
    return members


def let_pass(redis: Redis, grant: str, seconds: int) -> None:
    """Move a grant with all its tokens ``seconds`` towards its end, as if they had passed."""
    key = grant_key(grant)
    left = redis.pttl(key) - seconds * 1000
    if left > 0:
        redis.set(key, _earlier(stored_grant(redis, grant), seconds), px=left)
    else:
        redis.delete(key)


def _earlier(grant: dict[str, Any], seconds: int) -> str:
    for name in _TIMES_S:
        if name in grant:
            grant[name] -= seconds
    for name in _TIMES_MS:
        if name in grant:
            grant[name] -= seconds * 1000
    for name in _LISTS_MS:
        if name in grant:
            grant[name] = {each: time - seconds * 1000 for each, time in grant[name].items()}
    return json.dumps(grant, ensure_ascii=False)
