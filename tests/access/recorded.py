"""A request to a gateway whose backend notes what reaches it."""

from __future__ import annotations

from tests.support.raw import RawResponse, request
from tests.support.recording import Recorded


def ask(recorded: Recorded, target: str, *headers: str, method: str = "GET") -> RawResponse:
    recorded.reached()
    return request(recorded.gateway.port, target, *headers, method=method)


def assert_refused(recorded: Recorded, answer: RawResponse) -> None:
    assert answer.status in {400, 401, 403}, answer
    assert recorded.reached() == []
