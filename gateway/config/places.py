"""How a fault names a place in the configuration, and the names that are like another one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from gateway.config.tables.table import Key, Kind

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing that is wrong: where it stands, why, and the nearest name that is known."""

    where: str
    message: str
    nearest: str | None = None

    def __str__(self) -> str:
        hint = f"; did you mean '{self.nearest}'?" if self.nearest else ""
        return f"{self.where}: {self.message}{hint}"


@dataclass(frozen=True, slots=True)
class Place:
    """A table of the file: its dotted name, and the header by which a fault names it."""

    name: str = ""
    header: str = ""

    def key(self, key: str) -> str:
        """Name a key of this table."""
        return f"{self.header} {key_text(key)}" if self.header else key_text(key)

    def table(self, key: str) -> Place:
        """Return the place of a table in this one."""
        name = self._dotted(key)
        return Place(name, f"[{name}]")

    def array(self, key: str) -> Place:
        """Return the place of an array of tables in this one."""
        name = self._dotted(key)
        return Place(name, f"[[{name}]]")

    def item(self, position: int, label: str) -> Place:
        """Return the place of one table of this array: its position from 1, and its label."""
        shown = f" ({label})" if label else ""
        return Place(self.name, f"{self.header} #{position}{shown}")

    def of(self, key: Key) -> str:
        """Name a key or table of this one as it is written in the file."""
        match key.kind:
            case Kind.TABLE | Kind.ENTRIES:
                return self.table(key.name).header
            case Kind.ARRAY:
                return self.array(key.name).header
            case Kind.VALUE:
                return self.key(key.name)

    def _dotted(self, key: str) -> str:
        return f"{self.name}.{key_text(key)}" if self.name else key_text(key)


#: The file itself, above its first table.
TOP = Place()


def key_text(key: str) -> str:
    """Return a key as TOML has it: in quotes, unless it is a bare key."""
    return key if _BARE_KEY.fullmatch(key) else shown_text(key)


def shown_text(raw: str) -> str:
    """Return a string in quotes, on one line and not too long."""
    return repr(raw if len(raw) <= _SHOWN_CHARACTERS else raw[:_SHOWN_CHARACTERS] + "…")


def nearest_name(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Return the one of the ``known`` names that ``name`` was most likely meant to be.

    ``likeness`` is how much of the two must be the same, from 0 to 1.
    """
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=likeness)), None)
