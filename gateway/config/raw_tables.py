"""A configuration before validation: plain tables, lists and values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.config.places import TOP, Place
from gateway.config.tables.table import Key, Kind, Table, keys_of

#: The names and positions that lead from the top of a file to a key.
KeyPath = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """A key of a file: the table that it is in, its path from the top, and its name in a fault.

    ``key`` is ``None`` if the table has no such key. ``item`` is a position in the list there;
    ``is_entry`` is true for a name of the operator's own.
    """

    table: type[Table]
    place: Place
    name: str
    key: Key | None
    path: KeyPath
    where: str
    item: int | None = None
    is_entry: bool = False


class RawTables:
    """The tables of a file for the model ``root``. ``raw`` itself is kept and changed."""

    def __init__(self, root: type[Table], raw: dict[str, Any]) -> None:
        self.root = root
        self.raw = raw
        # Then pydantic validates the defaults of each table, with the folder for relative paths.
        _complete(self.raw, root, placeholders=False)
        self._mislabelled: frozenset[KeyPath] = frozenset()

    def at(self, path: KeyPath) -> Any:
        """Return what is written at ``path``, or ``None``."""
        value: Any = self.raw
        for step in path:
            try:
                value = value[step]
            except (LookupError, TypeError):
                return None
        return value

    def position(self, path: KeyPath) -> list[int]:
        """Return where ``path`` stands in the file, to sort by; a missing key is the last one."""
        positions: list[int] = []
        for depth, step in enumerate(path):
            table = self.at(path[:depth])
            if isinstance(table, dict):
                positions.append(list(table).index(step) if step in table else len(table))
            elif isinstance(step, int):
                positions.append(step)
        return positions

    def spot(self, path: KeyPath) -> Spot:
        """Find the key that ``path`` leads to, or into."""
        return self._spot(self.root, TOP, path, 0)

    def _spot(self, table: type[Table], place: Place, path: KeyPath, begin: int) -> Spot:
        name, rest = str(path[begin]), path[begin + 1 :]
        key = keys_of(table).get(name)
        if key is None:
            return Spot(table, place, name, None, path[: begin + 1], place.key(name))
        match key.kind, rest:
            case Kind.TABLE, (_, *_) if key.table:
                return self._spot(key.table, place.table(name), path, begin + 1)
            case Kind.ARRAY, (int(item), _, *_) if key.table:
                label = self._label((*path[: begin + 2], key.table.LABEL))
                inner = place.array(name).item(item + 1, label)
                return self._spot(key.table, inner, path, begin + 2)
            case Kind.ENTRIES, (entry, *_):
                where = place.table(name).key(str(entry))
                return Spot(table, place, name, key, path[: begin + 2], where, is_entry=True)
        position = rest[0] if rest and isinstance(rest[0], int) else None
        return Spot(table, place, name, key, path[: begin + 1], place.of(key), position)

    def _label(self, path: KeyPath) -> str:
        label = self.at(path)
        return label if isinstance(label, str) and path not in self._mislabelled else ""

    def distrust(self, paths: Iterable[KeyPath]) -> None:
        """Name no table of an array by a label that is at one of ``paths``: it is at fault."""
        self._mislabelled = frozenset(paths)

    def remove(self, spots: Iterable[Spot]) -> None:
        """Take the keys of ``spots`` out, so that the others can be validated without them.

        An entry stays, so that nobody misses its name; so does a required key, as an empty string.
        """
        for spot in sorted(spots, key=lambda spot: len(spot.path), reverse=True):
            *way, last = spot.path
            table: Any = self.at(tuple(way))
            if spot.is_entry:
                table[last] = ""
            else:
                table.pop(last, None)
        _complete(self.raw, self.root, placeholders=True)


def _complete(raw: dict[str, Any], table: type[Table], *, placeholders: bool) -> None:
    """Write every table that is missing, and perhaps every required key that is missing."""
    for key in keys_of(table).values():
        if key.kind is Kind.TABLE:
            raw.setdefault(key.name, {})
        elif key.required and placeholders:
            raw.setdefault(key.name, "")
        if key.table is not None:
            value = raw.get(key.name, [])
            for inner in value if isinstance(value, list) else [value]:
                if isinstance(inner, dict):
                    _complete(inner, key.table, placeholders=placeholders)
