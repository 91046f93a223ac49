"""Readers of one TOML value, and of arrays of them.

A reader takes a value as :mod:`tomllib` gives it and returns it checked, or raises
:class:`RefusedError`. Reasons do not show the value, because it may be a secret; those of
an array show a refused string where its reader was told that it may.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import NamedTuple, TypeVar

T = TypeVar("T")

#: Says what is wrong with a string, as what follows its name, or ``None``.
Rule = Callable[[str], str | None]

_SHOWN_CHARACTERS = 80


class Reason(NamedTuple):
    """Why a value is refused, as what follows the name of its key."""

    message: str
    nearest: str | None = None


class RefusedError(Exception):
    """A reader did not take a value, for one reason or for several."""

    def __init__(self, *reasons: Reason) -> None:
        super().__init__(*reasons)
        self.reasons = reasons


def text(*rules: Rule) -> Callable[[object], str]:
    """Read a string to which none of ``rules`` objects."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise wrong_type("a string", value)
        for rule in rules:
            if (fault := rule(value)) is not None:
                raise RefusedError(Reason(fault))
        return value

    return read


def boolean(value: object) -> bool:
    """Read ``true`` or ``false``."""
    if not isinstance(value, bool):
        raise wrong_type("true or false", value)
    return value


def whole_number(at_least: int, at_most: int | None = None) -> Callable[[object], int]:
    """Read an integer within bounds. A boolean is none, though Python says so."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type("an integer", value)
        if value < at_least:
            raise RefusedError(Reason(f"must be at least {at_least}"))
        if at_most is not None and value > at_most:
            raise RefusedError(Reason(f"must be at most {at_most}"))
        return value

    return read


def number(*, zero: bool) -> Callable[[object], float]:
    """Read an integer or a finite float above zero, or zero as well."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type("a number", value)
        if not math.isfinite(value):
            raise RefusedError(Reason("must be a finite number"))
        if value < 0 or (value == 0 and not zero):
            raise RefusedError(Reason("must be 0 or more" if zero else "must be more than 0"))
        return float(value)

    return read


def one_of(*choices: str) -> Callable[[object], str]:
    """Read one of a few words."""

    def read(value: object) -> str:
        word = text()(value)
        if word not in choices:
            reason = f"must be one of {', '.join(choices)}"
            raise RefusedError(Reason(reason, nearest_name(word, choices)))
        return word

    return read


def list_of(
    read_item: Callable[[object], T], *, empty: bool = True, shown: bool = True
) -> Callable[[object], tuple[T, ...]]:
    """Read an array, each item with ``read_item``, none of them twice.

    With ``shown`` a reason names a refused string by itself, otherwise by its position.
    """

    def read(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise wrong_type("an array", value)
        if not value and not empty:
            raise RefusedError(Reason("must not be empty"))
        items: list[T] = []
        reasons: list[Reason] = []
        for position, raw in enumerate(value, 1):
            name = shown_text(raw) if shown and isinstance(raw, str) else f"#{position}"
            try:
                item = read_item(raw)
            except RefusedError as refused:
                reasons += [Reason(f"{name} {why}", nearest) for why, nearest in refused.reasons]
                continue
            if item in items:
                reasons.append(Reason(f"{name} is there twice"))
            items.append(item)
        if reasons:
            raise RefusedError(*reasons)
        return tuple(items)

    return read


def one_or_list_of(
    read_item: Callable[[object], T], *, shown: bool = True
) -> Callable[[object], tuple[T, ...]]:
    """Read one item, or an array of at least one."""
    read_list = list_of(read_item, empty=False, shown=shown)

    def read(value: object) -> tuple[T, ...]:
        return read_list(value) if isinstance(value, list) else (read_item(value),)

    return read


def wrong_type(expected: str, value: object) -> RefusedError:
    """Return the refusal of a value that is not what was expected."""
    return RefusedError(Reason(f"must be {expected}, not {type_name(value)}"))


def type_name(value: object) -> str:
    """Name the type of a value as TOML does."""
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a float",
        str: "a string",
        list: "an array",
        dict: "a table",
    }
    return names.get(type(value), "a date or time")


def shown_text(raw: str) -> str:
    """Return a string in quotes, on one line and not too long."""
    return repr(raw if len(raw) <= _SHOWN_CHARACTERS else raw[:_SHOWN_CHARACTERS] + "…")


def nearest_name(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the one of the ``known`` names that ``name`` was most likely meant to be.

    ``likeness`` is how much of the two must be the same, from 0 to 1.
    """
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=likeness)), None)
