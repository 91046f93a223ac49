"""The audit log: one JSON object a line for each decision, with stable names.

``docs/audit.md`` lists the events and their members. A grant is named by its id, which is no
secret; codes, tokens, secrets, passwords and session ids never come here.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import weakref
from datetime import UTC, datetime
from pathlib import Path

from gateway.config import AuditLog

logger = logging.getLogger("gateway.audit")

#: Who may read names and addresses: the gateway's user, and the group that looks after it.
_FILE_MODE = 0o640

Value = str | int | bool | None


class Audit:
    """Writes the audit log of one gateway; the processes of a gateway share the file."""

    def __init__(self, settings: AuditLog) -> None:
        self.requests = settings.requests
        self._file = None if settings.file == "-" else Path(settings.file)
        self._descriptor: int | None = None

    def record(self, event: str, **members: Value) -> None:
        """Write one event; members that are ``None`` are left out."""
        line: dict[str, Value] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
        }
        line |= {name: value for name, value in members.items() if value is not None}
        try:
            self._write(json.dumps(line, ensure_ascii=True) + "\n")
        except OSError as error:
            logger.error("the audit log cannot be written: %s", error.strerror)  # noqa: TRY400

    def _write(self, line: str) -> None:
        if self._file is None:
            sys.stderr.write(line)
            sys.stderr.flush()
            return
        if self._descriptor is None:
            # With the first line, in the process that writes it. Not through logging, which costs
            # as much as the rest of a decision. Appended at once, lines of several processes
            # do not mix.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._descriptor = os.open(self._file, flags, _FILE_MODE)
            weakref.finalize(self, os.close, self._descriptor)
        os.write(self._descriptor, line.encode("ascii"))
