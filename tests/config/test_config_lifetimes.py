"""No token outlives the token or grant that it depends on."""

from __future__ import annotations

import pytest

from tests.config.config_samples import ISSUER, faults


@pytest.mark.parametrize(
    ("tokens", "line"),
    [
        (
            "refresh_seconds = 10\nrefresh_grace_seconds = 11",
            "[tokens] refresh_grace_seconds: must be at most refresh_seconds, 10",
        ),
        (
            "access_seconds = 3_000_000\ngrant_seconds = 2_600_000",
            "[tokens] access_seconds: must be at most grant_seconds, 2600000",
        ),
        (
            "grant_seconds = 86_400",
            "[tokens] refresh_seconds: must be at most grant_seconds, 86400",
        ),
    ],
)
def test_a_token_that_outlives_what_it_depends_on_is_a_fault(tokens: str, line: str) -> None:
    assert faults(f"{ISSUER}[tokens]\n{tokens}\n") == [line]


def test_a_faulty_lifetime_is_not_compared_with_others() -> None:
    assert faults(
        f"{ISSUER}[tokens]\nrefresh_seconds = -1\nrefresh_grace_seconds = 9_000_000\n"
    ) == ["[tokens] refresh_seconds: must be at least 1"]
