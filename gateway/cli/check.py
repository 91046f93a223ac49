"""``gateway check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.failures import words_for_errors
from gateway.cli.operations import CONFIG, count_of, open_core

if TYPE_CHECKING:
    from gateway.config.settings import Settings


@click.command()
@CONFIG
@click.option("--store", "ask_store", is_flag=True, help="Also ask the store how it is set up.")
def check(path: Path, *, ask_store: bool) -> None:
    """Say every fault of the configuration file; exit status 2 if there is one.

    With --store, a store that does not answer is a fault as well. A store that can lose grants, or
    has tokens of a secret key that is not in the file, is a warning; the exit status stays 0.
    """
    from gateway.config.file import load_config
    from gateway.config.proposals import proposals

    with words_for_errors():
        settings = load_config(path)
    clients, routes = (
        count_of(len(settings.clients), "client"),
        count_of(len(settings.routes), "route"),
    )
    users = count_of(len(settings.sign_in.users), "user")
    click.echo(f"{path}: no fault. {clients}, {routes}, {users}.")
    click.echo(f"A path that no route matches: {_unmatched(settings)} ([access] unmatched).")
    for proposal in proposals(settings):
        click.echo(f"note: {proposal}")
    if ask_store:
        _check_store(path)


def _unmatched(settings: Settings) -> str:
    """Say what such a request needs, since that is easily forgotten."""
    if settings.access.unmatched == "deny":
        return "refused"
    scopes = " ".join(settings.access.unmatched_scopes)
    return f"a token with the scope {scopes}" if scopes else "any valid token is enough"


def _check_store(path: Path) -> None:
    from gateway.store.diagnostics import store_warnings
    from gateway.store.key_check import secret_key_warning

    with open_core(path) as (core, settings):
        warnings = [f"store {each.server}: {each.text}" for each in store_warnings(core.redis)]
        if (about_keys := secret_key_warning(core.redis, settings)) is not None:
            warnings.append(about_keys)
    for warning in warnings:
        click.echo(f"warning: {warning}")
    click.echo(f"the store answers. {count_of(len(warnings), 'warning')}.")
