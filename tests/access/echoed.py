"""What the backend was told, and what the gateway refused."""

from __future__ import annotations

import re
from typing import Any

from tests.support.raw import RawResponse, request
from tests.support.running_gateway import RunningGateway

TRUSTED_PROXY = "127.0.0.2"
SESSION = "s" * 43


def told(echoed: dict[str, Any], name: str) -> list[str]:
    """Return what the backend was told under a name, in whatever spelling."""
    return [value for key, value in echoed["headers"] if folded(key) == folded(name)]


def folded(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def said(gateway: RunningGateway, target: str, *headers: str, **options: Any) -> dict[str, Any]:
    answer = request(gateway.port, target, *headers, **options)
    assert answer.status == 200, answer
    echoed: dict[str, Any] = answer.json()
    return echoed


def assert_refused(answer: RawResponse, status: int = 401) -> None:
    assert answer.status == status, answer
    assert "target" not in answer.json()


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"
