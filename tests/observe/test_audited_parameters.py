"""The audit log has the redirect URI or the scope that was refused, as it was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.support.oauth_client import Browser, authorization
from tests.support.parties import parties_at
from tests.support.running_gateway import RunningGateway, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running_gateway("wrapped", tmp_path_factory.mktemp("audited")) as running:
        yield running


def last_line(gateway: RunningGateway) -> dict[str, str]:
    line: dict[str, str] = json.loads(gateway.audit.read_text().splitlines()[-1])
    return line


def refused(gateway: RunningGateway, **parameters: str) -> dict[str, str]:
    Browser(gateway.url).authorize(**authorization(**parameters))
    return last_line(gateway)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://localhost:3000/oauth_code/", "redirect_uri"),
        ("http://localhost:3000/oauth_code?next=1", "redirect_uri"),
        ("http://LOCALHOST:3000/oauth_code", "redirect_uri"),
        ("http://localhost:3000/öauth", "malformed_redirect_uri"),
        ("http://localhost:3000/a\nb", "malformed_redirect_uri"),
    ],
)
def test_a_redirect_uri_that_is_nearly_right_can_be_compared(
    gateway: RunningGateway, uri: str, why: str
) -> None:
    line = refused(gateway, redirect_uri=uri)
    if why == "redirect_uri":
        assert line["why"] == why
    assert line["redirect_uri"] == uri


@pytest.mark.parametrize("scope", ["admin", "project admin", "Project", "project,profile"])
def test_a_scope_that_is_not_allowed_is_there(gateway: RunningGateway, scope: str) -> None:
    line = refused(gateway, scope=scope)
    assert (line["why"], line["scope"]) == ("scope", scope)
    # It stands beside the fault that it is about, and beside no other one.
    assert "scope" not in refused(gateway, scope=scope, response_type="token")


def test_a_long_one_is_cut(gateway: RunningGateway) -> None:
    line = refused(gateway, redirect_uri="https://x.example/" + "x" * 1500)
    assert line["redirect_uri"] == "https://x.example/" + "x" * 282 + "…"


def test_a_state_or_a_challenge_that_is_refused_is_not_there(gateway: RunningGateway) -> None:
    line = refused(gateway, code_challenge="hunter2", code_challenge_method="S256")
    assert line["why"] == "malformed_code_challenge"
    assert "hunter2" not in str(line)


def test_the_token_endpoint_has_it_too(gateway: RunningGateway) -> None:
    service = parties_at(gateway).service
    service.post("/oauth/token", {"grant_type": "client_credentials", "scope": "unknown"})
    line = last_line(gateway)
    assert (line["why"], line["scope"]) == ("scope", "unknown")
