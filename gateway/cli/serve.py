"""``gateway serve``."""

from __future__ import annotations

from pathlib import Path

import click

from gateway.cli.failures import Failure, words_for_errors
from gateway.cli.operations import CONFIG
from gateway.config.grammar import listen_fault


@click.command()
@CONFIG
@click.option("--listen", metavar="HOST:PORT", help="In place of server.listen.")
def serve(path: Path, listen: str | None) -> None:
    """Run the standalone gateway, a reverse proxy in front of upstream.url."""
    from gateway.config.file import load_config

    try:
        from gateway.server import listener, standalone
    except ImportError as error:
        raise Failure(
            f"{error.name} is missing: install the extra, pip install '.[server]'"
        ) from None
    with words_for_errors():
        if listen is not None and (fault := listen_fault(listen)) is not None:
            raise Failure(f"--listen {listen}: {fault}")
        try:
            standalone.serve(lambda: standalone.with_listen(load_config(path), listen))
        except listener.CannotListen as error:
            raise Failure(str(error)) from None
