"""An address that cannot be had is said in words."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gateway.server.listener import CannotListen, must_be_free


def test_an_address_that_cannot_be_had_is_said_in_words(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotListen, match="another program listens there"):
            must_be_free(address)
    (tmp_path / "file").write_text("")
    for address, why in (
        (f"unix:{tmp_path}/absent/socket", "No such file or directory"),
        (f"unix:{tmp_path}/file", "the path is taken"),
        ("name.invalid:80", "not known|resolution"),
    ):
        with pytest.raises(CannotListen, match=why):
            must_be_free(address)
    must_be_free(f"unix:{tmp_path}/socket")
