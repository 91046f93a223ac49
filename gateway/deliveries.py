"""Telling the store that what it gave has reached whoever asked for it.

A change whose answer got lost between store and gateway is repeated by the client, and must
not look like a replay: so the store is told when an answer has arrived, and until then a
repetition is answered once more (see ``lua/redeem_code.lua``, ``lua/rotate_refresh.lua``).
"""

from __future__ import annotations

import threading
import time
from time import monotonic

from gateway.redis_link import RedisLink, StoreUnavailable

# How often the store is told again (s), and how long: past the longest life of a code nothing
# that was lost can be had a second time, save a refresh token's successor by who knows both.
_PAUSE = 0.1
_PATIENCE = 600.0


class Deliveries:
    """Notes that answers have arrived."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def note(self, grant_key: str, what: str) -> None:
        """Tell the store that the answer to ``what`` is here; later, if it is silent now.

        ``what`` is the id of the request that redeemed a code, or a refresh token's digest.
        """
        since = monotonic()
        try:
            self._tell(grant_key, what, since)
        except StoreUnavailable:
            # The client gets its tokens all the same: it may be the only one that was told of
            # them. These threads are few, since each had its answer from the store just now.
            threading.Thread(
                target=self._insist, args=(grant_key, what, since), daemon=True
            ).start()

    def _insist(self, grant_key: str, what: str, since: float) -> None:
        while monotonic() - since < _PATIENCE:
            time.sleep(_PAUSE)
            # Each attempt is a request of its own, wherever the context came from.
            self._link.begin_request()
            try:
                self._tell(grant_key, what, since)
            except StoreUnavailable:
                continue
            return

    def _tell(self, grant_key: str, what: str, since: float) -> None:
        ago = int(1000 * (monotonic() - since))
        self._link.run("note_delivery", [grant_key], [what, ago])
