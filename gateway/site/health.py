"""Is the gateway alive, and can it decide? Each question has an endpoint."""

from __future__ import annotations

from werkzeug.wrappers import Response

from gateway.site.endpoint_request import EndpointRequest
from gateway.site.responses import json_response
from gateway.store.diagnostics import StoreDiagnostics
from gateway.store.redis_client import RedisClient, StoreUnavailable


class Health:
    """Answers orchestrators: ``/live`` (restart it?) and ``/ready`` (send it requests?)."""

    def __init__(self, redis: RedisClient, store_diagnostics: StoreDiagnostics) -> None:
        self._redis = redis
        self._store_diagnostics = store_diagnostics

    def live(self, request: EndpointRequest) -> Response:
        """200: this process answers."""
        return json_response({"live": True})

    def ready(self, request: EndpointRequest) -> Response:
        """200 while the store answers; 503 while it does not.

        ``warnings`` says which settings of the store can lose grants. It names no server, since
        anybody may ask.
        """
        try:
            # A server whose disk is full refuses PING, but it can judge tokens all the same.
            self._redis.command("DBSIZE")
        except StoreUnavailable:
            return json_response({"live": True, "ready": False, "store": "unavailable"}, 503)
        warnings = list(dict.fromkeys(each.text for each in self._store_diagnostics.warnings()))
        return json_response({"live": True, "ready": True, "store": "ok", "warnings": warnings})
