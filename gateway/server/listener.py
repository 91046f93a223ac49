"""The address that the standalone gateway listens on: a host and port, or a unix socket.

A gateway may trust the peers on its unix socket as proxies (``trusted_proxies = ["unix"]``). Then
everybody who can connect may name any user, so the file system must say who can.
"""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from pathlib import Path

from gateway.config.folders import folder_open_to_all
from gateway.config.settings import Server


class CannotListen(Exception):  # noqa: N818 - says what is wrong
    """The address of ``server.listen`` cannot be used; the message says why."""


def must_be_free(listen: str) -> None:
    """Raise CannotListen if ``listen``, ``host:port`` or ``unix:path``, cannot be used."""
    path = _socket_path(listen)
    if path is not None:
        _must_be_free_for_a_socket(path)
        return
    host, _, port = listen.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            why = (
                "another program listens there"
                if error.errno == errno.EADDRINUSE
                else error.strerror or str(error)
            )
            raise CannotListen(f"cannot listen on {listen}: {why}") from None


def socket_umask(server: Server) -> int:
    """Return the umask under which a new unix socket gets ``server.socket_mode``."""
    return 0o777 & ~int(server.socket_mode, 8)


def socket_group_id(server: Server) -> int | None:
    """Return the id of ``server.socket_group``. Raises CannotListen if there is no such group."""
    name = server.socket_group
    if not name:
        return None
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise CannotListen(f"server.socket_group: there is no group {name}") from None


def share_socket(server: Server) -> None:
    """Give the unix socket, if there is one, its mode and its group. Raises CannotListen."""
    path = _socket_path(server.listen)
    if path is None:
        return
    group = socket_group_id(server)
    try:
        if group is not None:
            os.chown(path, -1, group)
        path.chmod(int(server.socket_mode, 8))
    except OSError as error:
        raise CannotListen(f"cannot share {path}: {error.strerror}") from None


def _socket_path(listen: str) -> Path | None:
    """Return the path of a unix socket, ``None`` for a host and port."""
    return Path(listen.removeprefix("unix:")) if listen.startswith("unix:") else None


def _must_be_free_for_a_socket(path: Path) -> None:
    try:
        if not stat.S_ISDIR(path.parent.stat().st_mode):
            raise CannotListen(f"cannot listen on unix:{path}: {path.parent} is not a directory")
        if path.exists() and not path.is_socket():
            raise CannotListen(f"cannot listen on unix:{path}: the path is taken")
        if (shared := folder_open_to_all(path.parent)) is not None:
            raise CannotListen(
                f"cannot listen on unix:{path}: every user may write to {shared};"
                " put the socket into a folder of its own, with mode 0750"
            )
    except OSError as error:
        raise CannotListen(f"cannot listen on unix:{path}: {error.strerror}") from None
