"""A target that is no path is judged by its path, or reaches nothing (RFC 9112 §3.2)."""

from __future__ import annotations

import pytest

from tests.access.recorded import ask, assert_refused
from tests.support.raw import send
from tests.support.recording import Recorded


@pytest.mark.parametrize(
    ("target", "judged_as"),
    [
        ("http://gateway.test/admin/x", 403),
        ("http://gateway.test/public/../admin/x", 400),
        ("http://gateway.test//admin/x", 403),
        ("http://gateway.test/private?/public/x", 200),
        ("http://gateway.test/public/x", 200),
    ],
)
def test_a_target_in_absolute_form_is_judged_by_its_path(
    recorded: Recorded, bearer: str, target: str, judged_as: int
) -> None:
    """RFC 9112 §3.2.2."""
    assert ask(recorded, target, bearer).status == judged_as
    path = target.removeprefix("http://gateway.test")
    assert [reached.target for reached in recorded.reached()] == [path] * (judged_as == 200)


@pytest.mark.parametrize(
    "target",
    [
        "http://gateway.test?/public/x",
        "http://gateway.test@evil.example/private",
        "http:///private",
        "http:/private",
        "http:private",
        "//gateway.test/private",
        "*",
        "?/public/x",
        ";/public/x",
        "%2Fpublic%2Fx",
        "/public/x /public/y",
    ],
)
def test_a_target_that_is_no_path_reaches_nothing(recorded: Recorded, target: str) -> None:
    assert_refused(recorded, ask(recorded, target))


def test_an_absolute_form_of_another_host_is_not_forwarded_by_the_proxy(
    recorded: Recorded,
) -> None:
    """RFC 9112 §3.2.2: a wrapped application has one host only to speak of."""
    answer = ask(recorded, "http://evil.example/public/x")
    assert answer.status == (400 if recorded.gateway.mode == "standalone" else 200)
    assert b"evil.example" not in answer.body


@pytest.mark.parametrize("target", ["*", "/private"])
def test_options_is_no_way_in(recorded: Recorded, target: str) -> None:
    assert_refused(recorded, ask(recorded, target, method="OPTIONS"))


def test_connect_is_no_way_in(recorded: Recorded) -> None:
    recorded.reached()
    answer = send(
        recorded.gateway.port,
        b"CONNECT gateway.test:443 HTTP/1.1\r\nHost: gateway.test:443\r\nConnection: close\r\n\r\n",
    )
    assert answer is None or answer.status in {400, 405, 501}
    assert recorded.reached() == []
