"""``python -m gateway``: the command ``gateway``."""

from __future__ import annotations

from gateway.cli.commands import main

main(prog_name="gateway")
