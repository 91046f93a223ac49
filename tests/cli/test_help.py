"""Help for every command, and words for what is no command."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from gateway.cli.commands import main
from tests.cli.command_line import refused, run


def test_an_unknown_command_is_said_with_the_nearest_one() -> None:
    assert "Error: No such command 'serv'. Did you mean 'serve'?" in refused("serv")


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("client drop", "No such command 'drop'"),
        ("serve --port 80", "No such option"),
        ("check one two", "unexpected extra argument"),
        ("check --config .", "is a directory"),
        ("client add", "Missing argument 'CLIENT_ID'"),
        ("client add app --pkce maybe", "'maybe' is not one of"),
        ("grant list", "say whose: --user or --client"),
        ("demo --port 99999", "is not in the range"),
    ],
)
def test_what_a_command_does_not_take_is_said(line: str, answer: str) -> None:
    ended = CliRunner().invoke(main, line.split())
    assert isinstance(ended.exception, SystemExit)
    assert ended.exit_code == 2
    assert answer in ended.output


def test_the_command_lists_its_commands_and_its_version() -> None:
    listed = run("--help").stdout
    assert all(name in listed for name in main.commands)
    assert run("--version").stdout.startswith("gateway, version ")


def _commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, *path, name)


@pytest.mark.parametrize(
    ("words", "command"),
    [pytest.param(words, command, id=" ".join(words)) for words, command in _commands(main)],
)
def test_every_command_says_what_it_does_and_every_option_what_it_is_for(
    words: tuple[str, ...], command: click.Command
) -> None:
    helped = CliRunner().invoke(main, [*words, "--help"])
    assert helped.exit_code == 0
    assert command.help
    assert " ".join(command.help.split()) in " ".join(helped.output.split())
