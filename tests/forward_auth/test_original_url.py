"""ingress-nginx tells the original request in X-Original-Method and X-Original-URL."""

from __future__ import annotations

import json

import pytest

from tests.forward_auth.test_verify import ask
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway


def status(decider: RunningGateway, token: str | None = None, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(decider, {"X-Original-Method": "GET"} | named, token).status_code


@pytest.mark.parametrize(
    ("url", "without_token", "with_token"),
    [
        ("https://app/public/x?y=1", 200, 200),
        ("https://app.example:8443/private?y=1", 401, 200),
        ("http://[2001:db8::7]:80/admin", 401, 403),
        ("HTTPS://app/admin?next=/public/x", 401, 403),
        ("https://app", 401, 200),
        ("https://app?/public/x", 400, 400),
        ("https://app#/public/x", 400, 400),
        ("https://apphttp://app/public/x", 400, 400),
        ("https://app:80http://app/public/x", 400, 400),
        ("https://user@app/public/x", 400, 400),
        ("ftp://app/public/x", 400, 400),
        ("/public/x", 200, 200),
        ("/admin", 401, 403),
        ("https://app/private%2Fx?u=https://other/public/x", 401, 200),
        ("https://app/public/../admin", 400, 400),
        ("https://app\\@other/public/x", 400, 400),
        ("https://app/public/x#/admin", 400, 400),
        ("app/public/x", 400, 400),
    ],
)
def test_it_counts_as_the_original_target(
    decider: RunningGateway, token: str, url: str, without_token: int, with_token: int
) -> None:
    assert status(decider, X_Original_URL=url) == without_token
    assert status(decider, token, X_Original_URL=url) == with_token


def test_the_log_has_the_path(decider: RunningGateway) -> None:
    status(decider, X_Original_URL="https://app/public/logged?secret=1")
    last = json.loads(decider.audit.read_text().splitlines()[-1])
    assert last["path"] == "/public/logged"


def test_a_second_word_about_the_target_must_be_the_same(decider: RunningGateway) -> None:
    """One of the two may be what the client sent."""
    url, uri = "https://app/public/x", "/public/x"
    assert status(decider, X_Original_URL=url, X_Original_URI=uri) == 200
    for other in ("/admin", "/public/y", "/public/x?z"):
        assert status(decider, X_Original_URL=url, X_Original_URI=other) == 403
    others = {"X_Forwarded_Method": "GET", "X_Forwarded_Uri": "/admin"}
    assert status(decider, X_Original_URL=url, **others) == 403


def test_two_lines_are_a_contradiction(decider: RunningGateway) -> None:
    lines = ["X-Original-Method: GET", *["X-Original-URL: https://app/public/x"] * 2]
    assert request(decider.port, "/oauth/verify", *lines).status == 403


def test_without_a_method_it_is_half_a_pair(decider: RunningGateway) -> None:
    assert ask(decider, {"X-Original-URL": "https://app/public/x"}).status_code == 403
