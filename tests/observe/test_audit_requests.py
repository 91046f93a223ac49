"""``audit.requests = false``: the log has no line for a request that was allowed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.raw import request
from tests.support.running_gateway import RunningGateway, running_gateway


@pytest.fixture(scope="module", params=["wrapped", "standalone"])
def quiet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway that logs no request that was allowed."""
    folder: Path = tmp_path_factory.mktemp(f"quiet-{request.param}")
    changes = (("[audit]", "[audit]\nrequests = false"),)
    with running_gateway(request.param, folder, replace=changes) as gateway:
        yield gateway


def ask(gateway: RunningGateway, path: str) -> list[int]:
    """Send a request, and the question of a proxy about the same one; return both statuses."""
    original = ("X-Original-Method: GET", f"X-Original-URI: {path}")
    asked = request(gateway.port, "/oauth/verify", *original, source="127.0.0.2")
    return [request(gateway.port, path).status, asked.status]


def test_only_refusals_are_logged(quiet: RunningGateway) -> None:
    assert ask(quiet, "/public/x") == [200, 200]
    assert ask(quiet, "/private") == [401, 401]
    lines = [json.loads(line) for line in quiet.audit.read_text().splitlines()]
    assert [(line["event"], line["path"]) for line in lines] == [("request", "/private")] * 2
