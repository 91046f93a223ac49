"""Which path needs which scope. The first rule that matches wins; without one, any token."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config.settings import Route
from gateway.http.paths import RefusedPath


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a request must bring: nothing at all, or a valid token with all of ``scopes``."""

    public: bool = False
    scopes: tuple[str, ...] = ()


#: What a path needs that no rule names: a valid token (default deny).
ANY_VALID_TOKEN = Requirement()


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    methods: frozenset[str] | None
    requirement: Requirement

    def matches(self, method: str, path: str) -> bool:
        return (self.methods is None or method in self.methods) and (
            self.pattern.fullmatch(path) is not None
        )


class Routes:
    """The rules of ``[[routes]]``."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._rules = tuple(
            _Rule(
                path_pattern(route.path),
                _methods(route.methods),
                Requirement(route.public, route.scopes),
            )
            for route in routes
        )

    def requirement(self, method: str, readings: Sequence[str]) -> Requirement:
        """Return what ``method`` on a path needs, given every reading of that path.

        Raises RefusedPath if two readings need different things: one of them would be
        judged, and the other one served. A method has two if it is not in upper case:
        RFC 9110 §9.1 takes ``post`` for another than ``POST``, many backends do not.
        """
        first = self._first_match(method, readings[0])
        for other in readings[1:]:
            if self._first_match(method, other) != first:
                raise RefusedPath("ambiguous")
        usual = method.upper()
        if usual != method and self._first_match(usual, readings[0]) != first:
            raise RefusedPath("ambiguous_method")
        return first

    def _first_match(self, method: str, path: str) -> Requirement:
        for rule in self._rules:
            if rule.matches(method, path):
                return rule.requirement
        return ANY_VALID_TOKEN


def path_pattern(path: str) -> re.Pattern[str]:
    """Compile a rule's path: ``*`` is one segment or a part of it, ``**`` crosses segments.

    All else is literal: ``/mcp`` is neither ``/mcp/`` nor ``/mcp-other``; ``/mcp/**`` is
    ``/mcp/`` and all below it.
    """
    parts = re.split(r"(\*\*|\*)", path.encode().decode("latin-1"))
    wildcards = {"**": ".*", "*": "[^/]*"}
    return re.compile("".join(wildcards.get(part) or re.escape(part) for part in parts), re.DOTALL)


def _methods(methods: Sequence[str] | None) -> frozenset[str] | None:
    if methods is None:
        return None
    # RFC 9110 §9.3.2: HEAD asks for what GET would answer.
    return frozenset(methods) | ({"HEAD"} if "GET" in methods else set())
