"""The configuration in force, for an operator's eyes: each key, its value, and where it is from.

Secrets are hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from gateway.config.file import Configuration
from gateway.config.sources import Sources
from gateway.config.tables.table import Kind, Table, keys_of
from gateway.config.written import KeyPath

_COMMENT_COLUMN = 43


class Shown(NamedTuple):
    """The value of a key, and where it comes from."""

    value: Any
    origin: str


Tree = Mapping[str, Any]


def as_json(configuration: Configuration) -> str:
    """Return the tables as JSON; each key is an object with ``value`` and ``from``."""
    tree = _tree(configuration.settings, (), configuration.sources)
    return json.dumps(_plain(tree), ensure_ascii=False, indent=2)


def as_toml(configuration: Configuration) -> str:
    """Return the tables as a file would have them, the origin of each value as its comment."""
    tree = _tree(configuration.settings, (), configuration.sources)
    return "\n".join(_lines(tree, ""))


def _tree(table: Table, above: KeyPath, sources: Sources) -> dict[str, Any]:
    """Return the keys of ``table``: each one Shown, a tree, or a list of trees."""
    tree: dict[str, Any] = {}
    for key in keys_of(type(table)).values():
        if key.secret_of:
            continue
        path, value = (*above, key.name), getattr(table, key.field)
        if key.kind is Kind.TABLE:
            tree[key.name] = _tree(value, path, sources)
        elif key.kind is Kind.ARRAY and value:
            tree[key.name] = [
                _tree(item, (*path, position), sources) for position, item in enumerate(value)
            ]
        else:
            value = key.secret.hide(value) if key.secret else value
            if key.kind is Kind.ENTRIES and value:
                tree[key.name] = {
                    name: Shown(each, sources.origin((*path, name))) for name, each in value.items()
                }
            else:
                tree[key.name] = Shown(_simple(value), sources.origin(path))
    return tree


def _simple(value: Any) -> Any:
    """Return ``value`` as what JSON and TOML have."""
    if isinstance(value, tuple):
        return [_simple(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _plain(tree: Any) -> Any:
    match tree:
        case Shown(value, origin):
            return {"value": value, "from": origin}
        case dict():
            return {name: _plain(below) for name, below in tree.items()}
        case _:
            return [_plain(below) for below in tree]


def _lines(tree: Tree, name: str) -> Iterator[str]:
    for key, below in tree.items():
        if isinstance(below, Shown):
            yield _line(key, below)
    for key, below in tree.items():
        dotted = f"{name}.{key}" if name else key
        match below:
            case Shown():
                pass
            case dict():
                yield from ("", f"[{dotted}]", *_lines(below, dotted))
            case _:
                for item in below:
                    yield from ("", f"[[{dotted}]]", *_lines(item, dotted))


def _line(key: str, shown: Shown) -> str:
    if shown.value is None:
        return f"# {key} is not set"
    name = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)
    return f"{f'{name} = {_toml(shown.value)}':<{_COMMENT_COLUMN}} # {shown.origin}"


def _toml(value: Any) -> str:
    """Write a value as TOML; where it is simple, that is as JSON."""
    return json.dumps(value, ensure_ascii=False)
