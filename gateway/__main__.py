"""``python -m gateway``: the command ``gateway``."""

from __future__ import annotations

from gateway.cli import main

main(prog_name="gateway")
