"""What many tests say of an answer."""

from __future__ import annotations

import requests


def assert_refused(answer: requests.Response, error: str, status: int = 400) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert_not_cached(answer)


def assert_not_cached(answer: requests.Response) -> None:
    """RFC 6749 §5.1."""
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
