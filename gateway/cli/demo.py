"""``gateway demo``."""

from __future__ import annotations

import click

from gateway.cli.failures import Failure, words_for_errors

_PORT = click.IntRange(1, 65_535)


@click.command()
@click.option(
    "--port", type=_PORT, default=8000, show_default=True, help="Where the gateway listens."
)
@click.option(
    "--client-port",
    type=_PORT,
    default=3000,
    show_default=True,
    help="Where the sample client listens.",
)
@click.option(
    "--backend-port", type=_PORT, help="Where the sample backend listens; 8080 if that is free."
)
def demo(port: int, client_port: int, backend_port: int | None) -> None:
    """Run a gateway with everything around it, and print what to open and to try."""
    try:
        from gateway.demo import everything
    except ImportError as error:
        raise Failure(f"{error.name} is missing: install the extra, pip install '.[all]'") from None
    with words_for_errors():
        try:
            everything.run(port, client_port, backend_port)
        except everything.CannotListen as error:
            raise Failure(str(error)) from None
