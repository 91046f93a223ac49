"""A file that lines are appended to, by all processes of a gateway at once.

Not through :mod:`logging`: an audit line for each request would cost as much as the whole
decision, nearly all of it in locks and records.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from time import monotonic

#: Who may read names and addresses: the gateway's user, and the group that looks after it.
_MODE = 0o640
#: So often the path is looked at: whoever rotates logs has put another file there.
_LOOK_SECONDS = 1.0


class AuditFile:
    """The file at ``path``, opened with the first line, and anew when another one is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._looked_at = 0.0
        self._cut_short = False

    def append(self, line: bytes) -> None:
        """Write one line, its end included. Raises OSError where it is not there as a whole."""
        descriptor = self._opened()
        if self._cut_short:
            # The next line begins a line.
            line = b"\n" + line
        written = os.write(descriptor, line)
        while written < len(line):
            # The disk is nearly full. What is missing fits, or the error says why not.
            self._cut_short = True
            written += os.write(descriptor, line[written:])
        self._cut_short = False

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = self._open()
            weakref.finalize(self, os.close, self._descriptor)
        elif not self._is_at_path(self._descriptor):
            # Under its number: another thread may be about to write to it.
            replacement = self._open()
            os.dup2(replacement, self._descriptor, inheritable=False)
            os.close(replacement)
            self._cut_short = False
        return self._descriptor

    def _open(self) -> int:
        # Appended in one step, lines of several processes do not mix.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._path, flags, _MODE)

    def _is_at_path(self, descriptor: int) -> bool:
        now = monotonic()
        if now - self._looked_at <= _LOOK_SECONDS:
            return True
        self._looked_at = now
        try:
            return os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False
