"""Authorization requests that wait in the store until their user has signed in."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from gateway.protocol.errors import OAuthError, fatal
from gateway.protocol.parameters import AUTHORIZE
from gateway.protocol.reasons import Why
from gateway.protocol.request_rules import Pairs
from gateway.store.digest import digest
from gateway.store.format import FORMAT
from gateway.store.redis_client import RedisClient
from gateway.tokens.token import new_secret

#: The parameter of the authorization endpoint that names a waiting request.
WAITING = "waiting"

#: As long as a person may take to sign in.
WAITING_SECONDS = 3600


class WaitingRequests:
    """Keeps the parameters of a request under a random id, which stands in URLs in their place.

    So no parameter is escaped twice, and the URL of a page stays short. Everything raises
    StoreUnavailable.
    """

    def __init__(self, redis: RedisClient, key_prefix: str) -> None:
        self._redis = redis
        self._prefix = key_prefix

    def keep(self, pairs: Pairs, browser_id: str | None) -> str:
        """Keep the recognised ones of ``pairs``; return the query that stands for them.

        ``browser_id`` names the only browser that may go on with the request. ``None``: the
        browser did not say who it is, and the first one may.
        """
        request_id = new_secret()
        kept = {
            "format": FORMAT,
            "pairs": [pair for pair in pairs if pair[0] in AUTHORIZE],
            "browser": digest(browser_id) if browser_id else None,
        }
        stored = json.dumps(kept, ensure_ascii=False)
        self._redis.command("SET", self._key(request_id), stored, "EX", WAITING_SECONDS)
        return f"{WAITING}={request_id}"

    def find(self, pairs: Pairs, browser_ids: Sequence[str]) -> Pairs:
        """Return the request that ``pairs`` name, or ``pairs`` if they are a request themselves.

        Raises OAuthError if the request waits no longer, or waits for another browser.
        """
        if [name for name, _ in pairs] != [WAITING]:
            return pairs
        ((_, request_id),) = pairs
        stored = self._redis.command("GET", self._key(request_id))
        found = json.loads(stored) if stored else None
        if found is None or not _is_for(found["browser"], browser_ids):
            raise _waits_no_longer()
        return [(name, value) for name, value in found["pairs"]]

    def _key(self, request_id: str) -> str:
        return f"{self._prefix}:waiting:{digest(request_id)}"


def _is_for(browser: str | None, browser_ids: Collection[str]) -> bool:
    return browser is None or browser in map(digest, browser_ids)


def _waits_no_longer() -> OAuthError:
    return fatal(
        "It was open for too long, or in another browser. Go back to the application and start"
        " again.",
        Why.WAITING_TOO_LONG,
    )
