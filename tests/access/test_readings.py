"""A variant of a path meets the rule of the path that some server would take it for."""

from __future__ import annotations

import pytest

from gateway.access.routes import ANY_VALID_TOKEN, DENIED, Requirement, Routes
from gateway.config.settings import Route
from gateway.http.paths import READINGS, RefusedPath, readings

TASK = Requirement(scopes=("task",))
ROUTES = Routes(
    [
        Route(path="/tasks/**", scopes=("task",)),
        Route(path="/single/1", scopes=("task",)),
        Route(path="/Reports/Q1.", scopes=("task",)),
        Route(path="/page.php", scopes=("task",)),
        Route(path="/folder/", scopes=("task",)),
        Route(path="/caf\N{LATIN SMALL LETTER E WITH ACUTE}/**", scopes=("task",)),
        Route(path="/public/**", public=True),
        Route(path="/mcp", public=True),
        Route(path="/style.css", public=True),
        Route(path="/style", scopes=("task",)),
    ]
)

#: Each reading by name, and paths that it takes for one that needs ``task``.
VARIANTS: dict[str, list[str]] = {
    "authority": ["//host/tasks/1", "///tasks/1", "//evil.example:80/single/1"],
    "decoded, %2F kept": ["/%74asks/1", "/t%61sks/%31"],
    "decoded": ["/tasks%2F1", "/%2574asks/1"],
    "without ;parameters": ["/tasks;v=1/1", "/;x/tasks/1", "/single;a/1;b"],
    "single slashes": ["/tasks//1", "/single///1"],
    "up to ? or #": ["/single/1%3Fx", "/single/1%23x"],
    "backslash is a slash": ["/tasks%5C1", "/single%5C1", "/%5Ctasks%5C1"],
    "without line breaks": ["/ta%0Asks/1", "/t%0D%0Aasks/1", "/tas%09ks/1"],
    "up to a line break": ["/single/1%0A", "/single/1%0Ax"],
    "after a line break": ["/public/x%0A/tasks/1", "/public/x%0Atasks/1"],
    "%uXXXX decoded": ["/%u0074asks/1", "/tas%u006Bs/1"],
    "overlong UTF-8 decoded": ["/%C1%B4asks/1", "/%E0%81%B4asks/1"],
    "compatibility form": [
        "/public/%EF%BC%8E%EF%BC%8E/tasks/1",
        "/public%EF%BC%8F%E2%80%A5%EF%BC%8Ftasks/1",
        "/tasks%EF%BC%8F1",
        "/tasks%E2%88%951",
    ],
    "base letters": [
        "/t%C3%A1sks/1",
        "/ta%E2%80%8Bsks/1",
        "/t%E1sks/1",
        "/cafe/x",
        "/CAFE%CC%81/x",
    ],
    "one case": ["/Tasks/1", "/TASKS/1", "/tas%E2%84%AAs/1", "/ta%C5%BFks/1", "/reports/q1"],
    "without NTFS streams": [
        "/tasks::$INDEX_ALLOCATION/1",
        "/tasks:$I30:$INDEX_ALLOCATION/1",
        "/single/1::$DATA",
    ],
    "without dots and spaces at the end": [
        "/tasks%20/1",
        "/tasks./1",
        "/tasks.%20./1",
        "/single/1.",
    ],
    "with another end": ["/single/1/", "/folder", "/tasks", "/Single/1//"],
    "folder of an index file": ["/folder/index.html", "/folder/Default.aspx"],
    "without a format": ["/single/1.json", "/tasks.xml"],
    "script before its PATH_INFO": ["/page.php/x", "/page.php/x/y.css"],
}


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, paths in VARIANTS.items() for path in paths]
)
def test_a_variant_is_judged_by_the_stricter_rule(name: str, path: str) -> None:
    assert "task" in ROUTES.requirement("GET", readings(path, escaped=True)).scopes


def test_every_reading_of_the_table_has_its_variants() -> None:
    assert [each.name for each in READINGS] == list(VARIANTS)


@pytest.mark.parametrize("each", READINGS, ids=lambda each: each.name)
def test_every_reading_names_the_servers_that_make_it(each: object) -> None:
    assert getattr(each, "servers", "")


@pytest.mark.parametrize(
    "path", ["/Public/x", "/public%20/x", "/MCP", "/mcp/", "/mcp%20", "/m%C4%87p", "/public.html"]
)
def test_a_variant_never_meets_a_laxer_rule(path: str) -> None:
    assert ROUTES.requirement("GET", readings(path, escaped=True)) == ANY_VALID_TOKEN


@pytest.mark.parametrize("path", ["/public/x", "/public/", "/public/X%20y", "/mcp", "/style.css"])
def test_what_a_rule_names_is_judged_by_it(path: str) -> None:
    """Also where a variant would meet no rule, or the rule spells the ending itself."""
    assert ROUTES.requirement("GET", readings(path, escaped=True)).public


@pytest.mark.parametrize(
    "path",
    ["/users/CORP%5Cjdoe", "/notes/a%0Ab", "/wiki/%C0%B4", "/wiki/100%25u2014", "/a/%EF%BC%8E/b"],
)
def test_a_path_whose_every_reading_meets_one_rule_is_not_refused(path: str) -> None:
    assert ROUTES.requirement("GET", readings(path, escaped=True)) == ANY_VALID_TOKEN


@pytest.mark.parametrize("path", ["/tasks/a%0Ab", "/tasks/CORP%5Cjdoe", "/tasks/%C0%B4"])
def test_an_odd_name_below_a_rule_needs_what_the_rule_needs(path: str) -> None:
    assert ROUTES.requirement("GET", readings(path, escaped=True)) == TASK


@pytest.mark.parametrize(
    "path",
    [
        "/a/%00b",
        "/a/%1Bb",
        "/a/%7F",
        "/a/..%5Cb",
        "/a/%2e%0A%2e/b",
        "/a/%C0%AE%C0%AE/b",
        "/a/%E0%80%AF",
        "/a/%u002e%u002e/b",
        "/a/%EF%BC%852e%EF%BC%852e/b",
        "/a\\b",
        "/a b",
    ],
)
def test_a_path_that_no_honest_client_sends_is_refused(path: str) -> None:
    with pytest.raises(RefusedPath):
        readings(path, escaped=True)


def test_the_strictest_of_several_rules_is_what_all_of_them_need() -> None:
    routes = Routes(
        [
            Route(path="/a", scopes=("x",)),
            Route(path="/A", scopes=("y",)),
            Route(path="/a/", public=True),
        ]
    )
    assert set(routes.requirement("GET", ["/a"]).scopes) == {"x"}
    assert set(routes.requirement("GET", ["/A"]).scopes) == {"x", "y"}
    assert set(routes.requirement("GET", ["/a/"]).scopes) == {"x"}


@pytest.mark.parametrize("path", ["/login", "/app.css", "/static/x"])
def test_an_exception_to_a_rule_for_all_stays_one(path: str) -> None:
    """Another spelling of it meets only the rule that the exception was made to."""
    routes = Routes(
        [
            Route(path="/login", public=True),
            Route(path="/*.css", public=True),
            Route(path="/static/*", public=True),
            Route(path="/**", scopes=("task",)),
        ]
    )
    assert routes.requirement("GET", readings(path, escaped=True)).public
    assert routes.requirement("GET", ["/Login"]) == TASK


def test_what_no_rule_matches_needs_what_the_operator_says() -> None:
    routes = [Route(path="/public/**", public=True)]
    scoped = Requirement(scopes=("project",))
    assert Routes(routes, DENIED).requirement("GET", ["/x"]) == DENIED
    assert Routes(routes, scoped).requirement("GET", ["/x"]) == scoped
    assert Routes([], DENIED).requirement("GET", ["/x"]) == DENIED
    assert Routes(routes, DENIED).requirement("GET", ["/public/x"]).public


def test_a_rule_of_one_host_says_nothing_about_another() -> None:
    routes = Routes(
        [
            Route(path="/x", host="open.example", public=True),
            Route(path="/x", host="closed.example", scopes=("task",)),
            Route(path="/y", scopes=("task",)),
        ]
    )
    assert routes.requirement("GET", ["/x"], "open.example").public
    assert routes.requirement("GET", ["/x"], "closed.example") == TASK
    assert routes.requirement("GET", ["/x"], "other.example") == ANY_VALID_TOKEN
    assert routes.requirement("GET", ["/y"], "open.example") == TASK


def test_the_work_for_a_path_grows_with_its_length_and_no_faster() -> None:
    """A path of 8 KB that could be read in very many ways is decided, or refused, at once."""
    for piece in ("%2F;x//", "%5C%0A", "%EF%BC%8E/", "a%25", "A./", "%C3%A9;b=%3F"):
        path = "/" + piece * (8192 // len(piece))
        try:
            assert len(readings(path, escaped=True)) <= 64
        except RefusedPath:
            continue
