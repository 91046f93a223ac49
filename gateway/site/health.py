"""Is the gateway alive, and can it decide? Two questions, each with its own status code."""

from __future__ import annotations

from werkzeug.wrappers import Response

from gateway.site.endpoint_request import OwnRequest
from gateway.site.responses import json_answer
from gateway.store.diagnostics import StoreCheck
from gateway.store.redis_client import RedisLink, StoreUnavailable


class Health:
    """Answers orchestrators: ``/live`` (restart me?) and ``/ready`` (send me requests?)."""

    def __init__(self, link: RedisLink, store_check: StoreCheck) -> None:
        self._link = link
        self._store_check = store_check

    def live(self, request: OwnRequest) -> Response:
        """200: this process answers."""
        return json_answer({"live": True})

    def ready(self, request: OwnRequest) -> Response:
        """200 while the store answers; 503 while it does not.

        ``warnings`` says what about the store can lose grants; not which server it is, since
        anybody may ask.
        """
        try:
            # Not PING, which a server refuses whose disk is full: it can judge tokens all the same.
            self._link.command("DBSIZE")
        except StoreUnavailable:
            return json_answer({"live": True, "ready": False, "store": "unavailable"}, 503)
        warnings = list(dict.fromkeys(each.text for each in self._store_check.warnings()))
        return json_answer({"live": True, "ready": True, "store": "ok", "warnings": warnings})
