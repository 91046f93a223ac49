"""From the tables of a TOML file to frozen dataclasses, naming every fault on the way.

What a file may hold is a tree of :class:`Table`, :class:`Array`, :class:`Entries` and the
readers of :mod:`gateway.config.values`. Reading never stops at a fault: it goes into the
:class:`Report`, and the next key is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.config.values import (
    Reason,
    RefusedError,
    Rule,
    nearest_name,
    shown_text,
    type_name,
    wrong_type,
)

_SLIP_OF_THE_PEN = 0.8
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing that is wrong: where it stands, why, and the nearest name that is known."""

    where: str
    message: str
    nearest: str | None = None

    def __str__(self) -> str:
        hint = f"; did you mean '{self.nearest}'?" if self.nearest else ""
        return f"{self.where}: {self.message}{hint}"


# --- What a file may hold


class Hint(NamedTuple):
    """What to say about a key that people write for another one."""

    key: str
    message: str


@dataclass(frozen=True)
class Table:
    """The keys of one table and the dataclass they make.

    A key fills the field of its own name unless ``fields`` says otherwise. A field without
    a default is a required key; in this package those are strings. ``label`` is the key that tells
    one table of an array from the others.
    """

    makes: type[Any]
    keys: Mapping[str, Node]
    fields: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    hints: Mapping[str, Hint] = field(default_factory=dict)

    @property
    def required(self) -> list[str]:
        """The keys that must be there."""
        return [
            needed.name
            for needed in fields(self.makes)
            if needed.name in self.keys
            and needed.default is MISSING
            and needed.default_factory is MISSING
        ]


@dataclass(frozen=True)
class Array:
    """An array of tables: ``[[clients]]``."""

    of: Table


@dataclass(frozen=True)
class Entries:
    """A table whose keys are the operator's own: ``[scopes]``."""

    name_rule: Rule
    read: Callable[[object], str]


Node = Table | Array | Entries | Callable[[object], Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A table of the file: its dotted name, and the header a fault names it by."""

    name: str = ""
    header: str = ""

    def key(self, key: str) -> str:
        """Name a key of this table."""
        return f"{self.header} {_key_text(key)}" if self.header else _key_text(key)

    def table(self, key: str) -> Place:
        """Return the place of a table in this one."""
        name = self._dotted(key)
        return Place(name, f"[{name}]")

    def array(self, key: str) -> Place:
        """Return the place of an array of tables in this one."""
        name = self._dotted(key)
        return Place(name, f"[[{name}]]")

    def item(self, position: int, label: str) -> Place:
        """Return the place of one table of this array: position from 1, and what it is called."""
        shown = f" ({label})" if label else ""
        return Place(self.name, f"{self.header} #{position}{shown}")

    def node(self, key: str, node: Node) -> str:
        """Name a key or table of this one as it is written in the file."""
        match node:
            case Table() | Entries():
                return self.table(key).header
            case Array():
                return self.array(key).header
            case _:
                return self.key(key)

    def _dotted(self, key: str) -> str:
        return f"{self.name}.{_key_text(key)}" if self.name else _key_text(key)


def _key_text(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else shown_text(key)


#: The file itself, above its first table.
TOP = Place()


class Report:
    """The faults found so far, and the keys that have no value because of them."""

    def __init__(self, file: Table) -> None:
        self.faults: list[ConfigFault] = []
        self.unread: set[str] = set()
        self._file = file

    def add(self, where: str, message: str, nearest: str | None = None) -> None:
        """Add a fault of the key or table at ``where``."""
        self.faults.append(ConfigFault(where, message, nearest))
        self.unread.add(where)

    def add_unknown(self, table: Table, place: Place, key: str, value: object) -> None:
        """Add the fault of a key that ``table`` does not have, with what was probably meant."""
        kind, where = "table", place.key(key)
        if isinstance(value, dict):
            where = place.table(key).header
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            where = place.array(key).header
        else:
            kind = "key"
        message = f"unknown {kind}"
        meant: str | None
        if key in table.hints:
            meant, why = table.hints[key]
            nearest: str | None = meant
            message = f"{message}: {why}"
        else:
            # A slip of the pen, else a key of another table, else something rather like it.
            likely = nearest_name(key, table.keys, _SLIP_OF_THE_PEN)
            elsewhere = None if likely else self._elsewhere(key)
            meant = likely or (None if elsewhere else nearest_name(key, table.keys))
            nearest = _written(place, meant, table.keys[meant]) if meant else elsewhere
        self.add(where, message, nearest)
        if meant:
            # The key that was meant is not missing as well.
            self.unread.add(place.node(meant, table.keys[meant]))

    def _elsewhere(self, key: str) -> str | None:
        found = [place.node(key, node) for place, name, node in _nodes(self._file) if name == key]
        return found[0] if len(found) == 1 else None


def _written(place: Place, key: str, node: Node) -> str:
    return place.node(key, node) if isinstance(node, (Table, Array, Entries)) else key


def _nodes(table: Table, place: Place = TOP) -> Iterator[tuple[Place, str, Node]]:
    for key, node in table.keys.items():
        yield place, key, node
        match node:
            case Table():
                yield from _nodes(node, place.table(key))
            case Array():
                yield from _nodes(node.of, place.array(key))
            case _:
                pass


# --- Reading


def read_values(
    table: Table, raw: Mapping[str, object], place: Place, report: Report
) -> dict[str, Any]:
    """Read the keys of one table; return the values of the fields that could be read."""
    values: dict[str, Any] = {}
    for key, value in raw.items():
        node = table.keys.get(key)
        if node is None:
            report.add_unknown(table, place, key, value)
            continue
        where = place.node(key, node)
        try:
            values[table.fields.get(key, key)] = _read_node(node, value, key, place, report)
        except RefusedError as refused:
            for message, nearest in refused.reasons:
                report.add(where, message, nearest)
    for key in table.required:
        if key not in raw and place.key(key) not in report.unread:
            report.add(place.key(key), "is missing")
    return values


def make(table: Table, values: dict[str, Any]) -> Any:
    """Make the dataclass of ``table``; a required key that could not be read is empty."""
    return table.makes(**(dict.fromkeys(table.required, "") | values))


def _read_node(node: Node, value: object, key: str, place: Place, report: Report) -> Any:
    match node:
        case Table():
            inner = place.table(key)
            return make(node, read_values(node, _as_table(value, inner), inner, report))
        case Array():
            return _read_array(node.of, value, place.array(key), report)
        case Entries():
            return _read_entries(node, value, place.table(key), report)
        case _:
            return node(value)


def _as_table(value: object, place: Place) -> dict[str, object]:
    if isinstance(value, list):
        raise RefusedError(Reason(f"must be one table; write {place.header}, in single brackets"))
    if not isinstance(value, dict):
        raise wrong_type("a table", value)
    return value


def _read_array(table: Table, value: object, place: Place, report: Report) -> tuple[Any, ...]:
    if isinstance(value, dict):
        reason = f"must be an array of tables; write {place.header}, in double brackets"
        raise RefusedError(Reason(reason))
    if not isinstance(value, list):
        raise wrong_type("an array of tables", value)
    if reasons := [
        Reason(f"#{position} must be a table, not {type_name(raw)}")
        for position, raw in enumerate(value, 1)
        if not isinstance(raw, dict)
    ]:
        raise RefusedError(*reasons)
    items = []
    for position, raw in enumerate(value, 1):
        inner = place.item(position, _label(table, raw))
        items.append(make(table, read_values(table, raw, inner, report)))
    return tuple(items)


def _label(table: Table, raw: Mapping[str, object]) -> str:
    """Return what a table of an array is called, or nothing if that cannot be read."""
    reader = table.keys[table.label]
    try:
        return str(reader(raw.get(table.label))) if callable(reader) else ""
    except RefusedError:
        return ""


def _read_entries(
    entries: Entries, value: object, place: Place, report: Report
) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name, raw in _as_table(value, place).items():
        # A faulty entry stays known: whoever refers to it makes no second fault.
        found[name] = ""
        if (fault := entries.name_rule(name)) is not None:
            report.add(place.key(name), fault)
        try:
            found[name] = entries.read(raw)
        except RefusedError as refused:
            for message, nearest in refused.reasons:
                report.add(place.key(name), message, nearest)
    return MappingProxyType(found)
