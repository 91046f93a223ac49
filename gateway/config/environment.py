"""Keys from environment variables: ``GATEWAY_STORE__URL`` is ``url`` in ``[store]``.

A list or a table is JSON, several secret keys are lines. An empty variable is as good as none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from gateway.config.faults import Report
from gateway.config.places import key_text, nearest_name
from gateway.config.raw_tables import KeyPath
from gateway.config.secret_files import json_in, secret_keys_in
from gateway.config.settings import Settings
from gateway.config.tables.table import Key, Kind, Table, keys_of
from gateway.config.values import Reason

_PREFIX = "GATEWAY_"
_DELIMITER = "__"


def read_environment(
    environ: Mapping[str, str], report: Report
) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """Return the keys that ``environ`` sets, as a file holds them, and how a fault names each.

    Puts a fault into ``report`` for each variable that looks like a key and is none.
    """
    known = dict(_variables(Settings, ()))
    ours = {name.upper(): value for name, value in environ.items() if value.strip()}
    paths = {name: path for name in ours if (path := _path(name, known))}
    for name in sorted(ours.keys() - paths.keys()):
        if name.startswith(_PREFIX) and _DELIMITER in name.removeprefix(_PREFIX):
            report.add(name, Reason("unknown key", nearest_name(name, known)))
    raw = _values({name: ours[name] for name in paths})
    for path in paths.values():
        _parse(raw, Settings, path)
    names = {path: name for name, path in paths.items()}
    return raw, names | {leaf: _name(leaf, names) for leaf in _leaves(raw, ())}


class _Source(EnvSettingsSource):
    """Reads variables into tables; what is not JSON stays a string, and is refused as one."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return json_in(value)
        except ValueError:
            return value


def _values(variables: Mapping[str, str]) -> dict[str, Any]:
    source = _Source(
        Settings,  # type: ignore[arg-type]  # only its fields and its configuration are read
        env_prefix=_PREFIX,
        env_nested_delimiter=_DELIMITER,
    )
    # Releases of the library differ in how they read numbers for strict models; see _parse.
    source.config = {**source.config, "strict": False}
    source.env_vars = {name.lower(): value for name, value in variables.items()}
    raw = source()
    if keys := secret_keys_in(variables.get("GATEWAY_SECRET_KEY", "")):
        raw["secret_key"] = keys if len(keys) > 1 else keys[0]
    if file := variables.get("GATEWAY_SECRET_KEY_FILE"):
        raw["secret_key_file"] = file
    return raw


def _parse(raw: dict[str, Any], table: type[Table], path: KeyPath) -> None:
    """Put a number or a boolean in place of its text; a text that is none of them stays."""
    name, *below = path
    key, value = keys_of(table)[str(name)], raw.get(str(name))
    if below and key.table and isinstance(value, dict):
        _parse(value, key.table, tuple(below))
    elif key.field and isinstance(value, str):
        kind = table.model_fields[key.field].annotation
        if kind in {bool, int, float}:
            with suppress(ValidationError):
                raw[key.name] = TypeAdapter(kind).validate_python(value)


def _variables(table: type[Table], above: KeyPath) -> Iterator[tuple[str, tuple[KeyPath, Key]]]:
    for key in keys_of(table).values():
        path = (*above, key.name)
        yield _PREFIX + _DELIMITER.join(map(str, path)).upper(), (path, key)
        if key.kind is Kind.TABLE and key.table:
            yield from _variables(key.table, path)


def _path(name: str, known: Mapping[str, tuple[KeyPath, Key]]) -> KeyPath | None:
    """Return the path of the key that a variable sets; ``GATEWAY_SCOPES__A`` sets an entry."""
    if name in known:
        return known[name][0]
    table, _, entry = name.rpartition(_DELIMITER)
    path, key = known.get(table, ((), None))
    return (*path, entry.lower()) if key and key.kind is Kind.ENTRIES else None


def _leaves(raw: Mapping[str, Any], above: KeyPath) -> Iterator[KeyPath]:
    for name, value in raw.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name)


def _name(path: KeyPath, names: Mapping[KeyPath, str]) -> str:
    """Name a key after its variable; in the JSON of a variable, after its place there as well."""
    above = path
    while above not in names:
        above = above[:-1]
    inside = ".".join(key_text(str(step)) for step in path[len(above) :])
    return f"{names[above]} {inside}" if inside else names[above]
