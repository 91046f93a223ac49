"""``gateway hash-password`` and ``gateway new-secret`` show no password and make good keys."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.config.file import settings_from_toml
from gateway.users.passwords import password_matches
from tests.cli.command_line import SECONDS, run
from tests.cli.terminal import on_a_terminal, read_until


def test_a_password_is_hashed() -> None:
    ended = run("hash-password", "--password", "open sesame")
    assert ended.returncode == 0
    assert password_matches(ended.stdout.rstrip("\n"), "open sesame")


def test_a_password_is_asked_for_twice_and_notread_until() -> None:
    with on_a_terminal("hash-password") as (process, screen):
        shown = read_until(screen, "Password: ")
        os.write(screen, b"open sesame\n")
        shown += read_until(screen, "confirmation: ")
        os.write(screen, b"open sesami\n")
        shown += read_until(screen, "Password: ")
        assert "do not match" in shown
        os.write(screen, b"open sesame\n")
        shown += read_until(screen, "confirmation: ")
        os.write(screen, b"open sesame\n")
        last = read_until(screen, None)
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
