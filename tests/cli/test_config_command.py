"""``gateway config show``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli.commands import main
from tests.config.config_samples import ISSUER, KEY


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GATEWAY_SECRET_KEY", KEY)
    path = tmp_path / "gateway.toml"
    path.write_text(f"{ISSUER}[server]\nworkers = 8\n")
    return path


def show(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["config", "show", *map(str, words)])


def test_the_configuration_in_force_is_shown(config: Path) -> None:
    shown = show("--config", config)
    assert shown.exit_code == 0
    lines = [" ".join(line.split()) for line in shown.output.splitlines()]
    assert 'issuer = "http://localhost:8000" # file' in lines
    assert "workers = 8 # file" in lines
    assert "connections = 1000 # default" in lines
    assert 'secret_key = ["(hidden)"] # GATEWAY_SECRET_KEY' in lines
    assert KEY not in shown.output


def test_the_configuration_in_force_is_shown_as_json(config: Path) -> None:
    shown = json.loads(show("--config", config, "--json").output)
    assert shown["server"]["workers"] == {"value": 8, "from": "file"}


def test_a_faulty_configuration_is_not_shown_but_its_faults_are(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_SERVER__WORKERS", "many")
    shown = show("--config", config)
    assert shown.exit_code == 2
    assert shown.output == "Error: GATEWAY_SERVER__WORKERS: must be an integer\n"
