"""``gateway hash-password`` and ``gateway new-secret``."""

from __future__ import annotations

import click


@click.command("hash-password")
@click.password_option(help="Asked for if it is left out.")
def hash_password(password: str) -> None:
    """Hash a password for [[sign_in.users]]."""
    from gateway.users import passwords

    click.echo(passwords.hash_password(password))


@click.command("new-secret")
def new_secret() -> None:
    """Print a fresh secret_key."""
    from gateway.tokens import token

    click.echo(token.new_secret())
