"""The folder ``gateway`` as CONTRIBUTING.md shows it: ``python -m tests.house.picture`` writes it.

A line is a file or a package, in the order of the layers, with the first line of its docstring;
below a package stand the names of its files.
"""

from __future__ import annotations

import ast
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import ROOT

GATEWAY = ROOT / "gateway"
_WIDTH = 100
_INDENT = " " * 18


def layers() -> list[str]:
    """Return the layers of the import contract, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [ordered] = [each["layers"] for each in contracts if each["type"] == "layers"]
    return [str(layer) for layer in ordered]


def picture() -> str:
    """Return the picture."""
    return "\n".join(("gateway/", *_lines()))


def _lines() -> Iterator[str]:
    for layer in layers():
        package = GATEWAY / layer
        if not package.is_dir():
            yield from _entry(f"{layer}.py", _title(package.with_suffix(".py")))
            continue
        yield from _entry(f"{layer}/", _title(package / "__init__.py"))
        names = ", ".join(_names(package))
        yield from textwrap.wrap(
            names, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT, break_on_hyphens=False
        )


def _entry(name: str, title: str) -> list[str]:
    return textwrap.wrap(
        f"  {name:<16}{title}", _WIDTH, subsequent_indent=_INDENT, drop_whitespace=True
    )


def _title(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").splitlines()[0]


def _names(package: Path) -> list[str]:
    inner = {
        each.name + "/" if each.is_dir() else each.stem
        for each in package.iterdir()
        if each.name not in {"__init__.py", "__pycache__"}
        and (each.is_dir() or each.suffix == ".py")
    }
    return sorted(inner)


if __name__ == "__main__":
    print(picture())  # noqa: T201 - this is what it is for
