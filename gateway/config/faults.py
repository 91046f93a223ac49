"""From pydantic's errors to our faults: each with its table and key, and the words to mend it.

Pydantic finds every fault at once and says at which key it is; the words are ours. They never show
a value, except an item of a list that holds no secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.places import TOP, ConfigFault, Place, nearest_name, shown_text
from gateway.config.raw_tables import RawTables, Spot
from gateway.config.tables.table import Key, Kind, Table, keys_of
from gateway.config.values import FileContext, Reason, wrong_type

T = TypeVar("T", bound=Table)

_SLIP_OF_THE_PEN = 0.8

_EXPECTED = {
    "bool_type": "true or false",
    "float_type": "a number",
    "int_type": "an integer",
    "literal_error": "a string",
    "string_type": "a string",
    "tuple_type": "an array",
}

_MESSAGES = {
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must not be empty",
}


class Report:
    """The faults found so far, and the names of the keys that have no value because of them."""

    def __init__(self) -> None:
        self.faults: list[ConfigFault] = []
        self.unread: set[str] = set()

    def add(self, where: str, *reasons: Reason) -> None:
        """Add the faults of the key or table that is called ``where``."""
        self.faults += (ConfigFault(where, reason.message, reason.nearest) for reason in reasons)
        self.unread.add(where)

    def add_error(self, error: ErrorDetails, tables: RawTables) -> None:
        """Add the fault that one of pydantic's errors stands for."""
        spot = tables.spot(error["loc"])
        if spot.key is None:
            self._add_unknown(spot, error["input"], tables.root)
        elif error["type"] != "missing":
            raw = tables.at(spot.path)
            self.add(
                spot.where, *(_name_item(reason, spot, raw) for reason in _reasons(error, spot))
            )
        elif spot.where not in self.unread:
            self.add(spot.where, Reason("is missing" + spot.table.WHEN_MISSING.get(spot.name, "")))

    def _add_unknown(self, spot: Spot, value: object, root: type[Table]) -> None:
        """Add the fault of a key that its table does not have, with the key that was meant."""
        keys, kind, where = keys_of(spot.table), "table", spot.where
        if isinstance(value, Mapping):
            where = spot.place.table(spot.name).header
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            where = spot.place.array(spot.name).header
        else:
            kind = "key"
        if spot.name in spot.table.HINTS:
            hint = spot.table.HINTS[spot.name]
            meant: str | None = hint.key
            self.add(where, Reason(f"unknown {kind}: {hint.message}", hint.key))
        else:
            meant, nearest = _meant(spot, keys, root)
            self.add(where, Reason(f"unknown {kind}", nearest))
        if meant:
            # The key that was meant is not missing as well.
            self.unread.add(spot.place.of(keys[meant]))


def read(model: type[T], tables: RawTables, base: Path, report: Report) -> T:
    """Return the model that ``tables`` fill; put their faults into ``report``.

    If there are faults, the model is made of the keys that have none.
    """
    try:
        return _validate(model, tables.raw, FileContext(base))
    except ValidationError as error:
        errors = error.errors(include_url=False)
    tables.distrust(each["loc"] for each in errors)
    errors.sort(key=lambda each: tables.position(each["loc"]))
    for each in errors:
        report.add_error(each, tables)
    tables.remove([tables.spot(each["loc"]) for each in errors])
    return _validate(model, tables.raw, FileContext(base, lenient=True))


def _validate(model: type[T], raw: dict[str, Any], context: FileContext) -> T:
    return model.model_validate(raw, context=context, by_alias=True, by_name=False)


def _meant(spot: Spot, keys: Mapping[str, Key], root: type[Table]) -> tuple[str | None, str | None]:
    """Return the key of this table that was meant, if any, and how to write what was meant.

    That is a slip of the pen, or else a key of another table, or else a key that is rather like it.
    """
    meant = nearest_name(spot.name, keys, _SLIP_OF_THE_PEN)
    if meant is None:
        found = [place.of(key) for place, key in _everywhere(root) if key.name == spot.name]
        if len(found) == 1:
            return None, found[0]
        meant = nearest_name(spot.name, keys)
    if meant is None or keys[meant].kind is Kind.VALUE:
        return meant, meant
    return meant, spot.place.of(keys[meant])


def _everywhere(table: type[Table], place: Place = TOP) -> Iterator[tuple[Place, Key]]:
    for key in keys_of(table).values():
        yield place, key
        if key.table is not None:
            inner = place.table if key.kind is Kind.TABLE else place.array
            yield from _everywhere(key.table, inner(key.name))


def _reasons(error: ErrorDetails, spot: Spot) -> tuple[Reason, ...]:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        return tuple(context["error"].reasons)
    if kind in {"model_type", "dict_type", "tuple_type"}:
        return (_wrong_shape(spot, value),)
    if kind == "literal_error" and isinstance(value, str):
        choices = re.findall("'([^']+)'", context["expected"])
        return (Reason(f"must be one of {', '.join(choices)}", nearest_name(value, choices)),)
    if kind in _EXPECTED:
        return (wrong_type(_EXPECTED[kind], value),)
    if isinstance(context.get("ge"), float):
        return (Reason("must be {ge:g} or more".format(**context)),)
    # A later release of pydantic may say something that this one does not.
    message = _MESSAGES[kind].format(**context) if kind in _MESSAGES else error["msg"]
    return (Reason(message),)


def _wrong_shape(spot: Spot, value: object) -> Reason:
    """Say which brackets a table needs, or that a value is no table, or no array."""
    is_item = spot.item is not None
    match spot.key and spot.key.kind:
        case Kind.TABLE | Kind.ENTRIES if isinstance(value, list):
            return Reason(f"must be one table; write {spot.where}, in single brackets")
        case Kind.ARRAY if isinstance(value, dict) and not is_item:
            return Reason(f"must be an array of tables; write {spot.where}, in double brackets")
        case Kind.ARRAY if not is_item:
            return wrong_type("an array of tables", value)
        case Kind.VALUE:
            return wrong_type("an array", value)
        case _:
            return wrong_type("a table", value)


def _name_item(reason: Reason, spot: Spot, raw: object) -> Reason:
    """Put the name of the item that is meant before the message, if it is one of a list."""
    item = spot.item if reason.item is None else reason.item
    if item is None or not isinstance(raw, list | tuple):
        return reason
    is_shown = isinstance(raw[item], str) and not (spot.key and spot.key.secret)
    name = shown_text(raw[item]) if is_shown else f"#{item + 1}"
    return Reason(f"{name} {reason.message}", reason.nearest)
