"""Which request needs what. The first rule that matches wins; ``[access]`` says what else needs.

A path may mean several things to several servers (:mod:`gateway.http.paths`). Each meaning is
matched by itself, and the strictest requirement among them decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from itertools import groupby
from typing import NamedTuple, cast

from gateway.access.path_patterns import Automaton, linear_expression, spells_ending
from gateway.config.settings import Route
from gateway.http.path_reasons import PathReason
from gateway.http.paths import (
    ENDINGS,
    RefusedPath,
    folded,
    folded_letters,
    text,
    with_other_end,
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a request must bring: nothing at all, or a valid token with all of ``scopes``.

    ``denied``: whatever it brings is not enough.
    """

    public: bool = False
    scopes: tuple[str, ...] = ()
    denied: bool = False

    def and_also(self, other: Requirement) -> Requirement:
        """Return what keeps both requirements."""
        if other == self:
            return self
        return Requirement(
            self.public and other.public,
            tuple(dict.fromkeys((*self.scopes, *other.scopes))),
            self.denied or other.denied,
        )


#: What a path needs that no rule names: a valid token (default deny).
ANY_VALID_TOKEN = Requirement()
DENIED = Requirement(denied=True)


class _Rule(NamedTuple):
    """A rule, its path in the spelling in which it is compared.

    ``is_for`` tells whether the rule's path, as the operator wrote it, is that of a request.
    """

    pattern: str
    requirement: Requirement
    spells_ending: bool
    is_for: Callable[[str], bool]


NO_RULE = _Rule("", ANY_VALID_TOKEN, spells_ending=False, is_for=lambda path: False)


class _Rules:
    """Rules in order, for requests of one method and one host."""

    def __init__(self, rules: Iterable[_Rule], otherwise: _Rule) -> None:
        self._otherwise = otherwise
        self._steps = [
            step
            for is_linear, following in groupby(rules, _has_linear_expression)
            for step in ([_first_of(list(following))] if is_linear else map(_only, following))
        ]

    def first_match(self, path: str) -> _Rule:
        """Return the first rule that matches, or the one that stands for none."""
        for step in self._steps:
            rule = step(path)
            if rule is not None:
                return rule
        return self._otherwise


def _has_linear_expression(rule: _Rule) -> bool:
    return linear_expression(rule.pattern) is not None


def _first_of(rules: Sequence[_Rule]) -> Callable[[str], _Rule | None]:
    """Match several rules in one step: the first alternative that matches is the first rule."""
    alternatives = "|".join(f"({linear_expression(rule.pattern)})" for rule in rules)
    fullmatch = re.compile(alternatives, re.DOTALL).fullmatch

    def step(path: str) -> _Rule | None:
        match = fullmatch(path)
        return None if match is None else rules[cast(int, match.lastindex) - 1]

    return step


def _only(rule: _Rule) -> Callable[[str], _Rule | None]:
    fullmatch = Automaton(rule.pattern).fullmatch
    return lambda path: rule if fullmatch(path) else None


class _Matcher(NamedTuple):
    """The rules for one method and host: as they are written, and in the folded spelling."""

    exact: _Rules
    folded: _Rules
    rules_are_folded: bool

    def requirement(self, reading: str) -> Requirement:
        """Return what a path needs in this one structure, whichever way it is spelled.

        Another spelling counts where a rule names it. Where none does, the operator has said
        nothing of it, and the rule for the path as it is written stays.
        """
        rule = self.exact.first_match(reading)
        needed = rule.requirement
        name = folded(text(reading))
        if name is not reading or not self.rules_are_folded:
            needed = self._and_as_spelled(needed, name, reading)
        needed = self._and_as_spelled(needed, with_other_end(name), reading)
        if "." in name and not rule.spells_ending:
            for shorter in _without_ending(name):
                needed = self._and_as_spelled(needed, shorter, reading)
        return needed

    def _and_as_spelled(self, needed: Requirement, name: str, reading: str) -> Requirement:
        """Add what another spelling needs, unless an earlier rule was made an exception to that.

        Where the other spelling's rule is for the path as it is written, too, an earlier rule has
        taken the path: ``/login`` is public though ``/**`` is not, and no server takes that back.
        """
        rule = self.folded.first_match(name)
        if rule is NO_RULE or rule.requirement is needed or rule.is_for(reading):
            return needed
        return needed.and_also(rule.requirement)


def _without_ending(name: str) -> Iterator[str]:
    for ending in ENDINGS:
        shorter = ending.read(name)
        if shorter != name:
            yield shorter
            yield with_other_end(shorter)


class Routes:
    """The rules of ``[[routes]]``. ``unmatched`` is needed where no rule matches."""

    def __init__(self, routes: Sequence[Route], unmatched: Requirement = ANY_VALID_TOKEN) -> None:
        self._routes = tuple(routes)
        self._unmatched = unmatched
        self._methods = frozenset(
            method for route in routes for method in _methods(route.methods) or ()
        )
        self._hosts = frozenset(route.host for route in routes if route.host)
        self._matcher = cache(self._matcher_of)

    @property
    def name_hosts(self) -> bool:
        """Whether a rule is for one host alone."""
        return bool(self._hosts)

    def requirement(self, method: str, readings: Sequence[str], host: str = "") -> Requirement:
        """Return what ``method`` on a path needs, given every reading of that path.

        ``host`` is the host of the request as :func:`gateway.http.targets.normal_host` gives it.

        Raises RefusedPath if the method is not in upper case and that makes a difference:
        RFC 9110 §9.1 takes ``post`` for another than ``POST``, many backends do not.
        """
        needed = self._strictest(method, readings, host)
        usual = method.upper()
        if usual != method and self._strictest(usual, readings, host) != needed:
            raise RefusedPath(PathReason.AMBIGUOUS_METHOD)
        return needed

    def _strictest(self, method: str, readings: Sequence[str], host: str) -> Requirement:
        if not self._routes:
            return self._unmatched
        matcher = self._matcher(
            method if method in self._methods else "", host if host in self._hosts else ""
        )
        return reduce(Requirement.and_also, map(matcher.requirement, readings))

    def _matcher_of(self, method: str, host: str) -> _Matcher:
        routes = [
            route
            for route in self._routes
            if _takes(route, method) and (not route.host or route.host == host)
        ]
        needed = [Requirement(route.public, route.scopes) for route in routes]
        endings = [spells_ending(route.path) for route in routes]
        exact = [_latin_1(route.path) for route in routes]
        spelled = [_folded_pattern(route.path) for route in routes]
        written = [Automaton(pattern).fullmatch for pattern in exact]
        return _Matcher(
            _Rules(
                map(_Rule, exact, needed, endings, written),
                NO_RULE._replace(requirement=self._unmatched),
            ),
            _Rules(map(_Rule, spelled, needed, endings, written), NO_RULE),
            exact == spelled,
        )


def _latin_1(path: str) -> str:
    # A request's path holds one byte a character.
    return path.encode().decode("latin-1")


def _folded_pattern(path: str) -> str:
    """Return a rule's path in the spelling of :func:`folded`; its wildcards stay.

    A segment with a wildcard keeps the dots and spaces at its end. They belong to what the
    wildcard stands for.
    """
    return "/".join(
        "*".join(map(folded_letters, segment.split("*"))) if "*" in segment else folded(segment)
        for segment in path.split("/")
    )


def _takes(route: Route, method: str) -> bool:
    methods = _methods(route.methods)
    return methods is None or method in methods


def _methods(methods: Sequence[str] | None) -> frozenset[str] | None:
    if methods is None:
        return None
    # RFC 9110 §9.3.2: HEAD asks for what GET would answer.
    return frozenset(methods) | ({"HEAD"} if "GET" in methods else set())
