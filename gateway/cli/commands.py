"""The command ``gateway``: every command and group of commands, each from a file of its own.

A command imports what it needs when it runs, so that help and version come at once.
"""

from __future__ import annotations

import click

from gateway.cli.check import check
from gateway.cli.client import client
from gateway.cli.config import config
from gateway.cli.demo import demo
from gateway.cli.grant import grant
from gateway.cli.init import init
from gateway.cli.secrets import hash_password, new_secret
from gateway.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="oauth-gateway")
def main() -> None:
    """An OAuth 2.0 authorization gateway in front of any backend."""


for _command in (init, serve, check, config, hash_password, new_secret, client, grant, demo):
    main.add_command(_command)
