"""Whatever stands in a configuration file, each fault of it is one line."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.config.settings import Settings
from gateway.config.tables.table import Kind, Table, keys_of
from tests.config.config_samples import faults

STRINGS = st.text(
    st.characters(min_codepoint=32, max_codepoint=255), max_size=12
) | st.sampled_from(
    ["http://[", "https://a", "/a", "authorization_code", "GET", "project", "[::1]:1", "X-A", "-"]
)
VALUES = st.recursive(
    st.booleans() | st.integers(-2, 1 << 40) | st.floats() | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=6,
)


def like(table: type[Table]) -> st.SearchStrategy[dict[str, Any]]:
    """Make tables that have the keys of ``table``, with any values."""
    keys: dict[str, st.SearchStrategy[Any]] = {}
    for name, key in keys_of(table).items():
        if key.table is None:
            keys[name] = VALUES
        elif key.kind is Kind.TABLE:
            keys[name] = like(key.table) | VALUES
        else:
            keys[name] = st.lists(like(key.table), max_size=2) | VALUES
    return st.fixed_dictionaries({}, optional=keys)


def toml(value: Any) -> str:
    """Write a value as TOML."""
    match value:
        case dict():
            pairs = ", ".join(f"{toml(key)} = {toml(each)}" for key, each in value.items())
            return f"{{{pairs}}}"
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case str():
            return json.dumps(value)
        case bool():
            return str(value).lower()
        case _:
            return str(value)


@hypothesis_settings(max_examples=60, deadline=None)
@given(like(Settings))
def test_whatever_stands_in_a_file_each_fault_is_one_line(raw: dict[str, Any]) -> None:
    written = "".join(f"{key} = {toml(value)}\n" for key, value in raw.items())
    assert tomllib.loads(written).keys() == raw.keys()
    for line in faults(written):
        assert line.isprintable()
        assert not line.startswith("the configuration: ")
