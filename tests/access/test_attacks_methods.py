"""A request is judged by the method that the backend will see."""

from __future__ import annotations

import pytest

from tests.access.recorded import ask, assert_refused
from tests.support.raw import request
from tests.support.recording import Recorded


def test_head_is_judged_as_get(recorded: Recorded, bearer: str) -> None:
    """RFC 9110 §9.3.2."""
    assert ask(recorded, "/projects/7", bearer, method="HEAD").status == 200
    assert [reached.method for reached in recorded.reached()] == ["HEAD"]
    assert_refused(recorded, ask(recorded, "/projects/7", method="HEAD"))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_another_method_than_the_rules_meets_the_next_rule(
    recorded: Recorded, bearer: str, method: str
) -> None:
    answer = ask(recorded, "/projects/7", bearer, method=method)
    assert answer.status == 403
    assert recorded.reached() == []


@pytest.mark.parametrize("method", ["post", "Post", "pOST", "get", "GET\t", "GE\\T"])
def test_a_method_in_odd_spelling_meets_no_laxer_rule(
    recorded: Recorded, bearer: str, method: str
) -> None:
    """Many backends take ``post`` for ``POST``."""
    assert_refused(recorded, ask(recorded, "/things/7", bearer, method=method))


@pytest.mark.parametrize(
    "header",
    [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X_HTTP_Method_Override",
        "x-http.method-override",
        "X-Original-Method",
        "X-Forwarded-Method",
    ],
)
def test_no_header_changes_the_method_that_was_judged(recorded: Recorded, header: str) -> None:
    """A GET that is public does not become the backend's POST, nor the other way round."""
    assert ask(recorded, "/things/7", f"{header}: POST").status == 200
    [reached] = recorded.reached()
    assert reached.method == "GET"
    assert "POST" not in dict(reached.headers).values()
    assert_refused(recorded, ask(recorded, "/things/7", f"{header}: GET", method="POST"))


@pytest.mark.parametrize("method", ["post", "Post", "get"])
def test_the_verify_endpoint_takes_no_method_in_odd_spelling_for_a_laxer_one(
    recorded: Recorded, bearer: str, method: str
) -> None:
    """Its proxy may let such methods through, where the gateway's own server would not."""
    original = ("X-Original-URI: /things/7", f"X-Original-Method: {method}")
    answer = request(recorded.gateway.port, "/oauth/verify", bearer, *original, source="127.0.0.2")
    assert answer.status == 400
