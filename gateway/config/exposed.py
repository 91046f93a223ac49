"""Secrets that are written in a configuration file itself, which other users must not read."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gateway.config.places import TOP, ConfigFault, Place
from gateway.config.tables.table import Key, Kind, Table, keys_of

# Names of header fields whose values let somebody in.
_OPENS = re.compile("auth|cookie|key|token|secret|pass", re.IGNORECASE)


def exposed_file_fault(name: str, mode: int, secrets: Iterable[str]) -> ConfigFault | None:
    """Return the fault of a file with ``secrets`` in it, if its ``st_mode`` is open to everybody.

    Pipes and other files that are no regular ones have no fault.
    """
    is_open = stat.S_ISREG(mode) and stat.S_IMODE(mode) & stat.S_IRWXO
    if not is_open or not (named := ", ".join(secrets)):
        return None
    message = f"is open to every user of this machine and holds {named}; run `chmod o= FILE`"
    return ConfigFault(name, message)


def secrets_in(raw: Mapping[str, Any], table: type[Table], place: Place = TOP) -> Iterator[str]:
    """Yield the name of every key below ``raw`` whose value lets somebody in who reads it."""
    for key in keys_of(table).values():
        value = raw.get(key.name)
        if key.table and isinstance(value, Mapping):
            yield from secrets_in(value, key.table, place.table(key.name))
        elif key.table and isinstance(value, list):
            for number, item in enumerate(value, 1):
                if isinstance(item, Mapping):
                    inner = place.array(key.name).item(number, "")
                    yield from secrets_in(item, key.table, inner)
        elif key.secret and not key.secret.is_hash and _lets_in(key, value):
            yield place.of(key)


def _lets_in(key: Key, value: object) -> bool:
    if isinstance(value, list):
        return any(_lets_in(key, each) for each in value)
    if key.kind is Kind.ENTRIES:
        entries = value.items() if isinstance(value, Mapping) else ()
        return any(each and _OPENS.search(name) for name, each in entries)
    if key.secret and key.secret.in_url:
        return isinstance(value, str) and key.secret.hide(value) != value
    return bool(value)
