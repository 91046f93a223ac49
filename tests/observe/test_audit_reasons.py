"""Every reason that the audit log can give stands in docs/audit.md, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from gateway.access.decisions import RequestReason
from gateway.http.path_reasons import PathReason
from gateway.site.verify import VerifyReason
from gateway.tokens.grant import Refusal
from tests.support.processes import ROOT

_TEXT = (ROOT / "docs" / "audit.md").read_text("utf-8")
_TABLE = _TEXT[_TEXT.index("| event | reasons") :]
_SOURCES = [ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "gateway").rglob("*.py"))]
_NODES = [node for tree in _SOURCES for node in ast.walk(tree)]
#: What these are given becomes a reason with this before it.
_PREFIXED = {"RefusedPath": "path_", "refused_path": "path_"}


def _places() -> dict[str, int]:
    """Return each function and class that is given a reason, and as which argument."""
    places = {}
    for node in _NODES:
        if isinstance(node, ast.FunctionDef):
            names = [each.arg for each in node.args.args if each.arg != "self"]
            if "why" in names and node.name != "__init__":
                places[node.name] = names.index("why")
        elif isinstance(node, ast.ClassDef):
            fields = [
                each.target.id
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            ]
            for each in node.body:
                if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                    fields = [argument.arg for argument in each.args.args[1:]]
            if "why" in fields:
                places[node.name] = fields.index("why")
    return places


def _name(call: ast.Call) -> str:
    called = call.func
    return called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")


def _texts(node: ast.AST | None) -> Iterator[str]:
    """Yield the texts that an expression may be; an ellipsis stands for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        first = node.values[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield f"{first.value}…"
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)


def _written() -> set[str]:
    """Return every reason that stands in the sources."""
    places = _places()
    asked = {
        _name(node.value)
        for node in _NODES
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and any(isinstance(each, ast.Name) and each.id == "why" for each in node.targets)
    }
    found = {each.value for each in (*Refusal, *PathReason, *RequestReason, *VerifyReason)}
    for node in _NODES:
        if isinstance(node, ast.Call):
            name = _name(node)
            given = [each.value for each in node.keywords if each.arg == "why"]
            if name in places and len(node.args) > places[name]:
                given.append(node.args[places[name]])
            for each in given:
                found |= {_PREFIXED.get(name, "") + text for text in _texts(each)}
        elif isinstance(node, ast.FunctionDef) and node.name in asked:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return):
                    found |= set(_texts(inner.value))
    # The prefix itself is no reason.
    return found - {f"{prefix}…" for prefix in _PREFIXED.values()}


def _documented() -> set[str]:
    """Return every reason in the table of events."""
    rows = re.findall(r"^\| (?!event|---)[^|]+\| (.+) \|$", _TABLE, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_the_sources_are_understood() -> None:
    """Reasons of each way of giving one; if none is found, nothing is said below."""
    assert {
        *("csrf", "wrong_secret", "remembered", "path_backslash", "path_own", "invalid_token"),
        *("denied_by_user", "untrusted_proxy", "store_unavailable", "reused", "malformed_…"),
    } <= _written()


def test_every_reason_is_documented() -> None:
    assert _written() - _documented() == set()


def test_nothing_else_is_documented() -> None:
    assert _documented() - _written() == set()
