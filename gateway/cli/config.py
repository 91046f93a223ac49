"""``gateway config``."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.failures import words_for_errors
from gateway.cli.operations import CONFIG


@click.group()
def config() -> None:
    """The configuration in force."""


@config.command("show")
@CONFIG
@click.option("--json", "is_json", is_flag=True, help="As JSON, for programs.")
def config_show(path: Path, *, is_json: bool) -> None:
    """Show every key, its value, and where the value comes from; secrets are hidden.

    A value comes from the file, from an environment variable, from a file of a secret, or is the
    default.
    """
    from gateway.config.file import read_configuration
    from gateway.config.show import as_json, as_toml

    with words_for_errors():
        configuration = read_configuration(path)
    click.echo((as_json if is_json else as_toml)(configuration))
