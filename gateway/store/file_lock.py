"""Open files and their locks (flock), safe against forks and against daemons.

A fork copies open files and their locks. A program that becomes a daemon may close all descriptors
behind our back, and another file may get the same number. So a file is recognised by its identity.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class OpenFile:
    """An open file or directory: its descriptor, and its device and inode."""

    number: int
    identity: tuple[int, int]

    @classmethod
    def open(cls, path: Path, flags: int) -> OpenFile:
        """Open the file at ``path``; with O_CREAT in ``flags`` for its owner alone."""
        number = os.open(path, flags | os.O_CLOEXEC, 0o600)
        return cls(number, _identity(os.fstat(number)))

    def check_open(self) -> bool:
        """Tell whether the descriptor still leads to this file."""
        try:
            return self.identity == _identity(os.fstat(self.number))
        except OSError:
            return False

    def check_path(self, path: Path) -> bool:
        """Tell whether ``path`` still leads to this file."""
        try:
            return self.identity == _identity(path.stat())
        except OSError:
            return False

    def lock_shared(self) -> bool:
        """Take the lock together with others; return False if a process holds it alone."""
        try:
            fcntl.flock(self.number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close the file. Its lock stays with the processes that were forked meanwhile."""
        if self.check_open():
            os.close(self.number)


def probe_lock(path: Path) -> bool:
    """Tell whether a process holds the lock at ``path`` alone; make the file if there is none."""
    probe = OpenFile.open(path, os.O_RDWR | os.O_CREAT)
    try:
        if not probe.lock_shared():
            return True
        # Unlocked, not only closed: a fork in another thread may have copied the open file.
        fcntl.flock(probe.number, fcntl.LOCK_UN)
        return False
    finally:
        probe.close()


def _identity(status: os.stat_result) -> tuple[int, int]:
    return (status.st_dev, status.st_ino)
