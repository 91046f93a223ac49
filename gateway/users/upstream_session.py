"""``sign_in.method = "upstream_session"``: the backend says whose cookie the browser has."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from gateway.config.settings import UpstreamSession
from gateway.users.sign_in_method import BackendUnreachable, Credentials, ResourceOwner

logger = logging.getLogger("gateway.sign_in")

#: Sends the backend a GET for a path with a Cookie header; returns the status and the body.
AskBackend = Callable[[str, str], tuple[int, bytes]]


class UpstreamSessionSignIn:
    """Asks the backend at ``settings.url`` with the browser's cookie."""

    def __init__(self, settings: UpstreamSession, ask_backend: AskBackend) -> None:
        self._settings = settings
        self._ask_backend = ask_backend

    def current_user(self, credentials: Credentials) -> ResourceOwner | None:
        """Return the user of the backend's session, or ``None``. Raises BackendUnreachable."""
        if not credentials.cookie:
            return None
        status, body = self._ask_backend(self._settings.url, credentials.cookie)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return None
        members = _json_object(body) if status == HTTPStatus.OK else None
        if members is None:
            logger.warning(
                "the backend's response at %s names no user: status %d", self._settings.url, status
            )
            raise BackendUnreachable
        return self._user_of(members)

    def sign_in_url(self, target: str) -> str:
        """Return the URL of the backend's sign-in page, ``login_url``."""
        return self._settings.login_url.replace("{next}", quote(target, safe=""))

    def sign_out_url(self, target: str = "") -> str:
        """Return "": users sign out at the backend."""
        return ""

    def _user_of(self, members: dict[str, Any]) -> ResourceOwner | None:
        name = members.get(self._settings.user)
        if not isinstance(name, str) or not name or name in self._settings.guest:
            return None
        return ResourceOwner(name)


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
