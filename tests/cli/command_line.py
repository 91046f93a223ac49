"""The command ``gateway``, started as an operator does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

GATEWAY = Path(sys.executable).with_name("gateway")
SECONDS = 30

#: Not the settings of whoever runs the tests.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}


def run(
    *words: str | Path, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, in a process of its own."""
    ended = subprocess.run(
        [GATEWAY, *words],
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
        env={**ENVIRONMENT, **(environ or {})},
    )
    assert "Traceback" not in ended.stdout + ended.stderr
    return ended


def refused(*words: str | Path) -> str:
    """Run the command, which cannot do what is asked; return what it says."""
    ended = run(*words)
    assert ended.returncode == 2, ended
    assert ended.stdout == ""
    return ended.stderr
