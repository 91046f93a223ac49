"""A file to which all processes of a gateway append lines at once.

It does not go through :mod:`logging`: there an audit line for each request would cost as much as
the whole decision, nearly all of it in locks and records.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from time import monotonic

#: The gateway's user may write, and its group may read: the lines hold names and addresses.
_MODE = 0o640
#: The seconds between two looks at the path, where a log rotation puts another file.
_LOOK_SECONDS = 1.0


class AuditFile:
    """The file at ``path``. It is opened for the first line, and again once it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._last_look = 0.0
        self._ends_within_line = False

    def append(self, line: bytes) -> None:
        """Write one line, its end included. Raises OSError if the file has not the whole of it."""
        descriptor = self._current_descriptor()
        if self._ends_within_line:
            line = b"\n" + line
        count = os.write(descriptor, line)
        while count < len(line):
            # The disk is nearly full. The rest of the line fits, or the error says why not.
            self._ends_within_line = True
            count += os.write(descriptor, line[count:])
        self._ends_within_line = False

    def _current_descriptor(self) -> int:
        if self._descriptor is None:
            self._descriptor = self._open()
            weakref.finalize(self, os.close, self._descriptor)
        elif self._look_for_replacement(self._descriptor):
            # The number stays, since another thread may be about to write to it.
            replacement = self._open()
            os.dup2(replacement, self._descriptor, inheritable=False)
            os.close(replacement)
            self._ends_within_line = False
        return self._descriptor

    def _open(self) -> int:
        # O_APPEND makes one step of each write, so the lines of several processes do not mix.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._path, flags, _MODE)

    def _look_for_replacement(self, descriptor: int) -> bool:
        """Look, once a second, whether another file or none is at the path."""
        now = monotonic()
        if now - self._last_look <= _LOOK_SECONDS:
            return False
        self._last_look = now
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return True
