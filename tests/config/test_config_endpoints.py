"""An endpoint's path has one spelling, and no path is two endpoints."""

from __future__ import annotations

import pytest

from tests.config.config_samples import ISSUER, faults


@pytest.mark.parametrize(
    "path",
    [
        "oauth/token",
        "/",
        "",
        "/a?b",
        "/a#b",
        "/a b",
        "/a\\u0000",
        "/a/../b",
        "/./a",
        "/%61",
        "//a",
        "/a//b",
        "/ü",
    ],
)
def test_an_endpoint_path_has_one_spelling(path: str) -> None:
    [line] = faults(f'{ISSUER}[endpoints]\ntoken = ["/token", "{path}"]\n')
    assert line.startswith(f"[endpoints] token: '{path}' must ".replace("\\u0000", "\\x00"))


def test_an_endpoint_needs_a_path() -> None:
    assert faults(f"{ISSUER}[endpoints]\ntoken = []\n") == ["[endpoints] token: must not be empty"]


@pytest.mark.parametrize(
    ("endpoints", "line"),
    [
        ("token = ['/a', '/a']", "[endpoints] token: '/a' is there twice"),
        ("token = ['/a']\nrevoke = ['/a']", "[endpoints] revoke: '/a' is a path of token already"),
        (
            "token = ['/oauth/health']",
            "[endpoints] health: '/oauth/health' is a path of token already",
        ),
    ],
)
def test_no_path_is_two_endpoints(endpoints: str, line: str) -> None:
    assert faults(f"{ISSUER}[endpoints]\n{endpoints}\n") == [line]
