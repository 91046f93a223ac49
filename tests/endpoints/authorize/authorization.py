"""An authorization request, and how its answer is read."""

from __future__ import annotations

import requests

from tests.support.oauth_client import answer_of

HOSTILE_NAME = "<img src=x onerror=alert(1)>\"'&{{1337*1337}}"


APP = {
    "client_id": "two-uris",
    "redirect_uri": "https://two.example/cb?kept=yes",
    "response_type": "code",
    "scope": "project",
    "state": "s",
}


def assert_page(answer: requests.Response, status: int = 400) -> None:
    """Assert that the fault is shown to the user, and that nobody is redirected."""
    assert answer.status_code == status
    assert "Location" not in answer.headers
    assert answer.headers["Content-Type"].startswith("text/html")


def error_of(answer: requests.Response) -> str:
    """Return the error that the client is told, with nothing it was not promised."""
    parameters = answer_of(answer)
    assert "code" not in parameters
    return parameters["error"]
