"""Which secret keys gateways use on a store: tokens of a key that this gateway lacks are refused.

Each gateway that starts notes a name of its newest key. A gateway that has the key among its own
knows the tokens made with it; so rotation, with the old key still listed, is no fault.
"""

from __future__ import annotations

import hmac
import logging
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress

from gateway.config.settings import Settings
from gateway.store.redis_client import RedisClient, StoreUnavailable

logger = logging.getLogger("gateway.store")

#: The value of a key that signs. Of a key that does not any more, it is since when (s).
_IN_USE = "0"
_NAME_BYTES = 9


def claim_secret_keys(redis: RedisClient, settings: Settings) -> None:
    """Note in the store which key this gateway signs with; log an error if it lacks another one.

    A store that does not answer is no error: gateways that start later say it.
    """
    with suppress(StoreUnavailable):
        used = _read(redis, settings)
        if words := _words(used, settings):
            logger.error("%s", words)
        _note(redis, settings, used)


def secret_key_warning(redis: RedisClient, settings: Settings) -> str | None:
    """Say that the store has tokens of a key that ``settings`` lack, or return ``None``.

    Raises StoreUnavailable.
    """
    return _words(_read(redis, settings), settings)


def _read(redis: RedisClient, settings: Settings) -> Mapping[str, str]:
    reply = redis.command("HGETALL", _place(settings))
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _words(used: Mapping[str, str], settings: Settings) -> str | None:
    own = _names(settings.secret_keys)
    if not any(_is_alive(since, settings) for name, since in used.items() if name not in own):
        return None
    return (
        "a gateway with another secret key has used this store, and this gateway refuses the tokens"
        " made with that key. Give all gateways the same secret_key; where you change the key, keep"
        " the old one as the last for as long as its tokens live."
    )


def _is_alive(since: str, settings: Settings) -> bool:
    """Tell whether a refresh token that was made with a key may still be good."""
    return since == _IN_USE or time.time() - int(since) < settings.tokens.refresh_seconds


def _note(redis: RedisClient, settings: Settings, used: Mapping[str, str]) -> None:
    """Every key but the newest has made its last token by now, unless it is noted again."""
    newest = _names(settings.secret_keys)[0]
    changes: list[str | int] = [newest, _IN_USE]
    for name, since in used.items():
        if name != newest and since == _IN_USE:
            changes += (name, int(time.time()))
    redis.command("HSET", _place(settings), *changes)
    if ended := [name for name, since in used.items() if not _is_alive(since, settings)]:
        redis.command("HDEL", _place(settings), *ended)


def _place(settings: Settings) -> str:
    return f"{settings.store.key_prefix}:secret-keys"


def _names(secret_keys: Sequence[bytes]) -> list[str]:
    """Name each key by an HMAC under it, from which nobody gets the key or a token."""
    digests = (hmac.digest(key, b"gateway: name of a key", "sha256") for key in secret_keys)
    return [urlsafe_b64encode(digest[:_NAME_BYTES]).decode() for digest in digests]
