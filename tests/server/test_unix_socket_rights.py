"""Only those whom the operator names may connect to the unix socket, whatever the umask is."""

from __future__ import annotations

import grp
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.config.settings import Server
from gateway.server.listener import CannotListen, must_be_free, share_socket
from tests.config.config_samples import ISSUER, USER, faults
from tests.support.processes import ROOT, end, python_module
from tests.support.running_gateway import write_settings
from tests.support.serving import until


@dataclass(frozen=True)
class Listening:
    """A gateway on a unix socket."""

    process: subprocess.Popen[bytes]
    path: Path
    config: Path


@contextmanager
def listening(folder: Path, umask: int = 0o022, keys: str = "") -> Iterator[Listening]:
    """Run a gateway on a unix socket under a umask."""
    path = folder / "s"
    changes = (
        ('listen = "127.0.0.1:9"', f'listen = "unix:{path}"\n{keys}'),
        ('trusted_proxies = ["127.0.0.2", "10.0.0.0/8"]', 'trusted_proxies = ["unix"]'),
    )
    config = write_settings(folder, port=9, replace=changes)
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            python_module("gateway", "serve", "--config", str(config)),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            umask=umask,
        )
    try:
        until(lambda: path.is_socket() or process.poll() is not None)
        assert process.poll() is None, (folder / "gateway.log").read_text()
        yield Listening(process, path, config)
    finally:
        end(process)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def another_group() -> grp.struct_group:
    """Return a group that this process may give a file to."""
    if os.geteuid() == 0:
        return next(each for each in grp.getgrall() if each.gr_gid != os.getegid())
    return grp.getgrgid(os.getegid())


@pytest.mark.parametrize("umask", [0, 0o077])
def test_it_is_for_its_owner_and_its_group(tmp_path: Path, umask: int) -> None:
    with listening(tmp_path, umask) as gateway:
        assert mode_of(gateway.path) == 0o660


def test_the_operator_chooses_the_mode_and_the_group_also_at_a_reload(tmp_path: Path) -> None:
    group = another_group()
    keys = f'socket_mode = "0600"\nsocket_group = "{group.gr_name}"'
    with listening(tmp_path, keys=keys) as gateway:
        until(lambda: gateway.path.stat().st_gid == group.gr_gid)
        assert mode_of(gateway.path) == 0o600
        text = gateway.config.read_text()
        gateway.config.write_text(text.replace('"0600"', '"0640"'))
        gateway.process.send_signal(signal.SIGHUP)
        until(lambda: mode_of(gateway.path) == 0o640)


# --- Faults


def test_a_folder_that_every_user_may_write_to_is_a_fault(tmp_path: Path) -> None:
    """Anybody could put a socket of their own in the place of the gateway's."""
    folder = tmp_path / "shared"
    folder.mkdir()
    for mode in (0o777, 0o1777, 0o757):
        folder.chmod(mode)
        with pytest.raises(CannotListen, match="every user may write to"):
            must_be_free(f"unix:{folder}/s")
    folder.chmod(0o775)
    must_be_free(f"unix:{folder}/s")


def test_so_is_a_folder_in_one_that_every_user_may_rename_it_in(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    private = shared / "private"
    private.mkdir(parents=True)
    shared.chmod(0o777)
    with pytest.raises(CannotListen, match=f"may write to {shared}"):
        must_be_free(f"unix:{private}/s")
    # With the sticky bit, as /tmp has it, only its owner renames it.
    shared.chmod(0o1777)
    must_be_free(f"unix:{private}/s")


def test_a_link_does_not_hide_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(shared)
    with pytest.raises(CannotListen, match="every user may write to"):
        must_be_free(f"unix:{link}/s")


def test_the_check_says_so_too(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    [line] = faults(
        f'{ISSUER}[server]\nlisten = "unix:{tmp_path}/s"\ntrusted_proxies = ["unix"]\n{USER}'
    )
    assert f"[server] listen: is in a folder that every user may write to: {tmp_path}" in line
    assert not faults(
        f'{ISSUER}[server]\nlisten = "unix:/run/s"\ntrusted_proxies = ["unix"]\n{USER}'
    )


def test_a_group_that_does_not_exist_is_said(tmp_path: Path) -> None:
    server = Server(listen=f"unix:{tmp_path}/s", socket_group="no-such-group")
    with pytest.raises(CannotListen, match="there is no group no-such-group"):
        share_socket(server)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("0666", "must not let every user connect"),
        ("777", "must not let every user connect"),
        ("660 ", "must be octal digits"),
        ("0o660", "must be octal digits"),
        ("rw-rw----", "must be octal digits"),
        ("0888", "must be octal digits"),
        ("", "must be octal digits"),
    ],
)
def test_a_mode_that_is_none_is_a_fault(mode: str, words: str) -> None:
    [line] = faults(f'{ISSUER}[server]\nsocket_mode = "{mode}"\n')
    assert f"[server] socket_mode: {words}" in line
