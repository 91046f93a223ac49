"""Patterns of rules match in linear time, and what they match is what they say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.path_patterns import Automaton, linear_expression
from gateway.access.routes import Routes
from gateway.config.settings import Route
from gateway.http.paths import readings

#: Patterns that have many ways to match, and a path that fits almost.
AMBIGUOUS = [
    ("/**/a/**/b/**/c", "/a/b" * 2000 + "/x"),
    ("/api/*-*-*/x", "/api/" + "-" * 8000 + "/y"),
    ("/**a*b**c", "/" + "ab" * 4000),
    ("/*a*a*a*a*b", "/" + "a" * 8000),
    ("/**/x*/y**z", "/xx/y" * 1600),
    ("/**x/*y*z/**", "/x/yy" * 1600),
]

patterns = st.lists(st.sampled_from(["/", "a", "b", "*", "**", ".", "-"]), max_size=10).map(
    lambda parts: "/" + "".join(parts)
)
paths = st.text("/ab.-", max_size=14).map(lambda rest: "/" + rest)


def plainly(pattern: str) -> re.Pattern[str]:
    """Return the textbook's expression, which may take for ever on a long path."""
    parts = re.split(r"(\*\*|\*)", pattern)
    wildcards = {"**": ".*", "*": "[^/]*"}
    return re.compile("".join(wildcards.get(part) or re.escape(part) for part in parts), re.DOTALL)


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(patterns, paths)
def test_the_automaton_and_the_linear_expression_match_what_the_pattern_says(
    pattern: str, path: str
) -> None:
    expected = plainly(pattern).fullmatch(path) is not None
    assert Automaton(pattern).fullmatch(path) == expected
    linear = linear_expression(pattern)
    if linear is not None:
        assert (re.fullmatch(linear, path, re.DOTALL) is not None) == expected


@pytest.mark.parametrize(("pattern", "path"), AMBIGUOUS)
def test_what_could_be_tried_in_many_ways_is_no_regular_expression(pattern: str, path: str) -> None:
    """One backtracking expression would need minutes for some of these."""
    assert linear_expression(pattern) is None
    assert not Automaton(pattern).fullmatch(path)


@pytest.mark.parametrize(
    "pattern",
    ["/mcp", "/tasks/**", "/projects/*", "/a/*/b/**", "/a/*/*/*/c", "/x*y", "**"],
)
def test_an_ordinary_pattern_is_one_expression(pattern: str) -> None:
    assert linear_expression(pattern) is not None


@pytest.mark.parametrize(("pattern", "path"), AMBIGUOUS)
def test_a_path_of_any_length_is_decided(pattern: str, path: str) -> None:
    routes = Routes([Route(path=pattern, public=True), Route(path=path, scopes=("exact",))])
    assert routes.requirement("GET", readings(path, escaped=True)).scopes == ("exact",)
