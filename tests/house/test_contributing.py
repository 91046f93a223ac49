"""CONTRIBUTING.md shows the house as it is."""

from __future__ import annotations

import re

import pytest

from tests.house.picture import GATEWAY, layers, picture
from tests.support.processes import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
_TABLE = CONTRIBUTING[CONTRIBUTING.index("| where is the rule that …") :].partition("\n\n")[0]
_ROWS = [row.strip("|").split("|") for row in _TABLE.splitlines()[2:]]


def test_the_picture_is_the_folder_word_for_word() -> None:
    """``python -m tests.house.picture`` writes it anew."""
    assert f"```text\n{picture()}\n```" in CONTRIBUTING


def test_every_file_and_package_has_its_layer() -> None:
    found = {
        each.stem
        for each in GATEWAY.iterdir()
        if each.suffix == ".py" or (each.is_dir() and each.name != "__pycache__")
    }
    assert found == {"__init__", *layers()}


@pytest.mark.parametrize("row", _ROWS, ids=[row[0].strip() for row in _ROWS])
def test_the_map_leads_to_the_rule_and_to_its_test(row: list[str]) -> None:
    _, rule, _, test = row
    for reference in (rule, test):
        [(path, name)] = re.findall(r"`([^`]+\.(?:py|lua))`(?:, `([^`]+)`)?", reference)
        text = (ROOT / path).read_text("utf-8")
        assert not name or name in text


def test_no_file_is_longer_than_a_reader_takes_in() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for folder in ("gateway", "tests", "bench")
        for path in (ROOT / folder).rglob("*.py")
        if (count := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert long == {}
