"""The configuration in force, for an operator's eyes: each key, its value, and where it is from.

Secrets are hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.config.file import Configuration
from gateway.config.raw_tables import KeyPath
from gateway.config.sources import Sources
from gateway.config.tables.table import Key, Kind, Table, keys_of

_COMMENT_COLUMN = 43


class ShownValue(NamedTuple):
    """The value of a key, and where it comes from."""

    value: Any
    origin: str


def as_json(configuration: Configuration) -> str:
    """Return the tables as JSON; each key is an object with ``value`` and ``from``."""
    tree = _tree(configuration.settings, (), configuration.sources)
    return json.dumps(_plain(tree), ensure_ascii=False, indent=2)


def as_toml(configuration: Configuration) -> str:
    """Return the tables as in a file, with the origin of each value as its comment."""
    return "\n".join(_lines(_tree(configuration.settings, (), configuration.sources), ""))


def _tree(table: Table, above: KeyPath, sources: Sources) -> dict[str, Any]:
    """Return the keys of ``table``: at each stands a ShownValue, a tree, or a list of trees."""
    return {
        key.name: _branch(key, getattr(table, key.field), (*above, key.name), sources)
        for key in keys_of(type(table)).values()
        if not key.secret_of
    }


def _branch(key: Key, value: Any, path: KeyPath, sources: Sources) -> Any:
    if key.secret:
        value = key.secret.hide(value)
    if key.kind is Kind.TABLE:
        return _tree(value, path, sources)
    if key.kind is Kind.ARRAY and value:
        return [_tree(item, (*path, place), sources) for place, item in enumerate(value)]
    if key.kind is Kind.ENTRIES and value:
        origins = {name: sources.origin((*path, name)) for name in value}
        return {name: ShownValue(each, origins[name]) for name, each in value.items()}
    return ShownValue(_simple(value), sources.origin(path))


def _simple(value: Any) -> Any:
    """Return ``value`` as what JSON and TOML have."""
    if isinstance(value, tuple):
        return [_simple(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _plain(tree: Any) -> Any:
    match tree:
        case ShownValue(value, origin):
            return {"value": value, "from": origin}
        case dict():
            return {name: _plain(below) for name, below in tree.items()}
        case _:
            return [_plain(below) for below in tree]


def _lines(tree: Mapping[str, Any], name: str) -> Iterator[str]:
    for key, below in tree.items():
        if isinstance(below, ShownValue):
            yield _line(key, below)
    for key, below in tree.items():
        dotted = f"{name}.{key}" if name else key
        match below:
            case ShownValue():
                pass
            case dict():
                yield from ("", f"[{dotted}]", *_lines(below, dotted))
            case _:
                for item in below:
                    yield from ("", f"[[{dotted}]]", *_lines(item, dotted))


def _line(key: str, shown: ShownValue) -> str:
    if shown.value is None:
        return f"# {key} is not set"
    name = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)
    return f"{f'{name} = {_toml(shown.value)}':<{_COMMENT_COLUMN}} # {shown.origin}"


def _toml(value: Any) -> str:
    """Write a value as TOML; where it is simple, that is as JSON."""
    return json.dumps(value, ensure_ascii=False)
