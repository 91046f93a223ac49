"""``gateway hash-password`` and ``gateway new-secret`` show no password and make good keys."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select

from gateway.config.file import settings_from_toml
from gateway.users.passwords import password_matches
from tests.cli.command_line import ENVIRONMENT, GATEWAY, SECONDS, run


def test_a_password_is_hashed() -> None:
    ended = run("hash-password", "--password", "open sesame")
    assert ended.returncode == 0
    assert password_matches(ended.stdout.rstrip("\n"), "open sesame")


@contextmanager
def _on_a_terminal(*words: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
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


def _shown(screen: int, end: str | None) -> str:
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


def test_a_password_is_asked_for_twice_and_not_shown() -> None:
    with _on_a_terminal("hash-password") as (process, screen):
        shown = _shown(screen, "Password: ")
        os.write(screen, b"open sesame\n")
        shown += _shown(screen, "confirmation: ")
        os.write(screen, b"open sesami\n")
        shown += _shown(screen, "Password: ")
        assert "do not match" in shown
        os.write(screen, b"open sesame\n")
        shown += _shown(screen, "confirmation: ")
        os.write(screen, b"open sesame\n")
        last = _shown(screen, None)
        assert process.wait(SECONDS) == 0
    assert "sesam" not in shown + last
    assert password_matches(last.strip(), "open sesame")


def test_a_new_secret_is_new_and_a_secret_key() -> None:
    one, other = run("new-secret").stdout, run("new-secret").stdout
    assert one != other
    settings = settings_from_toml(
        'issuer = "http://localhost:8000"',
        base=Path("/"),
        environ={"GATEWAY_SECRET_KEY": one.rstrip("\n")},
    )
    assert len(settings.secret_keys[0]) >= 32
