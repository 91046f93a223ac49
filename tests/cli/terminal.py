"""The command on a terminal of its own, where it asks for passwords."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select

from tests.cli.command_line import ENVIRONMENT, GATEWAY, SECONDS


@contextmanager
def on_a_terminal(*words: str | Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the command on a terminal of its own; give the other end of that terminal."""
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [GATEWAY, *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env=ENVIRONMENT,
    )
    os.close(terminal)
    try:
        yield process, screen
    finally:
        process.kill()
        process.wait(SECONDS)
        os.close(screen)


def read_until(screen: int, end: str | None) -> str:
    """Return what is shown next: up to the word ``end``, or all there is until the command ends."""
    text = ""
    while end is None or not text.endswith(end):
        assert select([screen], [], [], SECONDS)[0], text
        try:
            read = os.read(screen, 1)
        except OSError:
            # Linux says so when nobody holds the terminal any more.
            read = b""
        if not read:
            break
        text += read.decode()
    return text
