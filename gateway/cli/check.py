"""``gateway check``."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.failures import words_for_errors
from gateway.cli.operations import CONFIG, counted, open_core


@click.command()
@CONFIG
@click.option("--store", "ask_store", is_flag=True, help="Also ask the store how it is set up.")
def check(path: Path, *, ask_store: bool) -> None:
    """Say every fault of the configuration file; exit status 2 if there is one.

    With --store, a store that does not answer is a fault as well. A store that answers and is set
    up so that it can lose grants is a warning, which does not change the exit status.
    """
    from gateway.config.file import load_config
    from gateway.config.proposals import proposals

    with words_for_errors():
        settings = load_config(path)
    clients, routes = (
        counted(len(settings.clients), "client"),
        counted(len(settings.routes), "route"),
    )
    users = counted(len(settings.sign_in.users), "user")
    click.echo(f"{path}: no fault. {clients}, {routes}, {users}.")
    for proposal in proposals(settings):
        click.echo(f"note: {proposal}")
    if ask_store:
        _check_store(path)


def _check_store(path: Path) -> None:
    from gateway.store.diagnostics import store_warnings

    with open_core(path) as (core, _):
        warnings = store_warnings(core.redis)
    for warning in warnings:
        click.echo(f"warning: store {warning.server}: {warning.text}")
    click.echo(f"the store answers. {counted(len(warnings), 'warning')}.")
