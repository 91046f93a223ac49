"""Whatever the path, no backend serves it by another rule than it was judged by."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from functools import reduce
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gateway.access.routes import ANY_VALID_TOKEN, Requirement, Routes
from gateway.config.settings import Route
from gateway.http.paths import RefusedPath, readings
from tests.support.properties import over_http, pure
from tests.support.raw import request
from tests.support.recording import Recorded, recorded_gateway

# --- Paths


_WORDS = ["public", "admin", "x", "secret", "mcp", "a", ".", "..", "...", "%2e", "%2E%2e", "%252e"]
_SEPARATORS = ["/", "/", "/", "//", "%2f", "%2F", "%252F", "%5c", "\\", ";", "%3b", ";x=y", "%3f"]
_ODDITIES = ["%23", "%25", "%", "%u002e", "%00", "%20", "%c0%ae", "%C3%A9", "%61", "%2561", "+"]

raw_paths = st.lists(
    st.sampled_from(_WORDS + _SEPARATORS + _SEPARATORS + _ODDITIES), min_size=1, max_size=10
).map(lambda parts: "/" + "".join(parts))

ROUTES = Routes(
    [
        Route(path="/x/secret", scopes=("admin",)),
        Route(path="/x/**", public=True),
        Route(path="/public/**", public=True),
        Route(path="/mcp", public=True),
        Route(path="/admin", scopes=("admin",)),
        Route(path="/admin/**", scopes=("admin",)),
        Route(path="/a/*", scopes=("project",)),
    ]
)


def _without_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4, as far as a rule can tell."""
    ends_in_slash = path.endswith(("/", "/.", "/.."))
    resolved = posixpath.normpath(path.replace("//", "/\0/")).replace("/\0/", "//")
    return resolved if resolved.endswith("/") or not ends_in_slash else resolved + "/"


def _decoded(path: str) -> str:
    return unquote_to_bytes(path.encode("latin-1")).decode("latin-1")


#: What servers, proxies and frameworks do with a path, in one order or another.
STEPS: dict[str, Callable[[str], str]] = {
    "decode": _decoded,
    "decode all but %2F": lambda path: "%2F".join(map(_decoded, re.split("%2[fF]", path))),
    "merge slashes": lambda path: re.sub("//+", "/", path),
    "drop parameters": lambda path: re.sub(";[^/]*", "", path),
    "resolve dot segments": _without_dot_segments,
    "cut at ? or #": lambda path: re.split("[?#]", path, maxsplit=1)[0],
    "take \\ for /": lambda path: path.replace("\\", "/"),
    "drop the authority": lambda path: re.sub("^//+[^/]*", "", path),
}
backends = st.tuples(
    st.lists(
        st.sampled_from(["merge slashes", "drop parameters", "resolve dot segments"]), max_size=2
    ),
    st.sampled_from(["decode", "decode all but %2F"]),
    st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
).map(lambda steps: [*steps[0], steps[1], *steps[2]])


def served(path: str, steps: list[str]) -> str:
    """Return what a backend makes of a path."""
    return reduce(lambda read, step: STEPS[step](read), steps, path)


@settings(pure, max_examples=400)
@given(raw_paths, backends)
@example("/x/secret;a%2Fb", ["drop parameters", "decode"])
@example("/a//%2Fb", ["merge slashes", "decode"])
@example("//a/b%2Fc", ["decode all but %2F", "merge slashes"])
@example("/public/..%3fx", ["decode", "cut at ? or #", "resolve dot segments"])
@example("//a/admin/x", ["drop the authority", "decode"])
@example("/%2561dmin%252Fx", ["decode", "decode all but %2F"])
def test_no_backend_serves_another_rules_path_than_was_judged(path: str, steps: list[str]) -> None:
    try:
        needed = ROUTES.requirement("GET", readings(path, escaped=True))
    except RefusedPath:
        return
    read = served(path, steps)
    assert ROUTES.requirement("GET", [read or "/"]).and_also(needed) == needed


@pure
@given(raw_paths.map(_decoded), st.lists(st.sampled_from(sorted(STEPS)), max_size=4))
def test_no_wrapped_application_serves_another_rules_path_either(
    path: str, steps: list[str]
) -> None:
    try:
        needed = ROUTES.requirement("GET", readings(path, escaped=False))
    except RefusedPath:
        return
    read = served(path, steps)
    assert ROUTES.requirement("GET", [read or "/"]).and_also(needed) == needed


@pure
@given(st.text(st.characters(max_codepoint=255), max_size=40), st.booleans())
def test_every_path_has_readings_or_is_refused(path: str, escaped: bool) -> None:
    try:
        found = readings(path, escaped=escaped)
    except RefusedPath:
        return
    assert found
    assert all(reading.startswith("/") for reading in found)
    assert not any(segment in {".", ".."} for each in found for segment in each.split("/"))


@pure
@given(st.lists(st.text("aZ09_~-", min_size=1, max_size=3), min_size=1).map("/a.".join))
def test_a_plain_path_has_one_reading(rest: str) -> None:
    path = f"/{rest}"
    assert readings(path, escaped=True) == (path,) == readings(path, escaped=False)


@pure
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_a_name_in_any_script_is_not_refused(name: str) -> None:
    """Escaped as browsers do it; but for what no client leaves in a path."""
    assume(not re.search(r"[\\%/;?#]|^[. ]+$", name))
    path = f"/a/{quote(name, safe='')}"
    assert ROUTES.requirement("GET", readings(path, escaped=True)) == Requirement(
        scopes=("project",)
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    routes = """
[[routes]]
path = "/x/secret"
scopes = ["admin"]

[[routes]]
path = "/x/**"
public = true

[[routes]]
path = "/mcp"
public = true
"""
    folder = tmp_path_factory.mktemp("properties")
    with recorded_gateway("standalone", folder, extra=routes) as running:
        yield running


queries = st.one_of(
    st.just(""), st.text("/?%;&=.#ax2e\\", max_size=12).map(lambda query: "?" + query)
)


@settings(over_http, max_examples=100)
@given(raw_paths, queries)
def test_what_the_backend_receives_is_what_was_judged_byte_for_byte(
    recorded: Recorded, path: str, query: str
) -> None:
    """Sent without a token: what reaches the backend is public however it is read."""
    answer = request(recorded.gateway.port, path + query)
    reached = recorded.reached()
    assert answer.status in {200, 400, 401}
    assert len(reached) == (answer.status == 200)
    if reached:
        assert reached[0].target == path + query
        needed = ROUTES.requirement("GET", readings(path, escaped=True))
        assert needed.public


# --- Headers


def test_the_routes_of_the_properties_differ() -> None:
    """Or the properties of paths would hold for want of rules to mix up."""
    needed = {path: ROUTES.requirement("GET", [path]) for path in ("/x/secret", "/x/a", "/other")}
    assert needed["/x/a"].public
    assert needed["/x/secret"].scopes == ("admin",)
    assert needed["/other"] == ANY_VALID_TOKEN
