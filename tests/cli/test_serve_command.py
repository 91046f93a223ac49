"""``gateway serve`` says why it cannot start before anything is started."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command_line import refused
from tests.support.processes import free_port
from tests.support.running_gateway import write_settings


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield "127.0.0.1:{1}".format(*server.getsockname())


def test_a_port_in_use_is_said_before_anything_is_started(tmp_path: Path, taken: str) -> None:
    path = write_settings(tmp_path, port=free_port())
    words = refused("serve", "--config", path, "--listen", taken)
    assert words == f"Error: cannot listen on {taken}: another program listens there\n"
    assert not (tmp_path / "data").exists()


def test_an_address_that_is_none_is_said(tmp_path: Path) -> None:
    path = write_settings(tmp_path, port=free_port())
    words = refused("serve", "--config", path, "--listen", "8000")
    assert words == "Error: --listen 8000: must be HOST:PORT, [IPV6]:PORT or unix:/path\n"


def test_an_embedded_store_that_cannot_run_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a folder")
    path = write_settings(tmp_path, port=free_port())
    words = refused("serve", "--config", path)
    assert words.startswith("Error: the embedded store does not run: ")
    assert str(tmp_path / "data") in words
