"""The audit log: one JSON object a line for each decision, with stable names.

``docs/audit.md`` lists the events and their members. A grant is named by its id, which is no
secret; codes, tokens, secrets, passwords and session ids never come here.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway.config.settings import AuditLog
from gateway.observe.audit_file import AuditFile

logger = logging.getLogger("gateway.audit")

Value = str | int | bool | None


class Audit:
    """Writes the audit log of one gateway."""

    def __init__(self, settings: AuditLog) -> None:
        self.requests = settings.requests
        self._file = None if settings.file == "-" else AuditFile(Path(settings.file))

    def record(self, event: str, **members: Value) -> None:
        """Write one event; members that are ``None`` are left out.

        Never raises: what cannot be written is said in the log, and the request goes on.
        """
        line: dict[str, Value] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
        }
        line |= {name: value for name, value in members.items() if value is not None}
        text = json.dumps(line, ensure_ascii=True) + "\n"
        try:
            if self._file is not None:
                self._file.append(text.encode("ascii"))
            elif sys.stderr is not None:
                sys.stderr.write(text)
                sys.stderr.flush()
        except (OSError, ValueError) as error:
            # A ValueError is a standard error that somebody closed.
            logger.error("the audit log cannot be written: %s", error)  # noqa: TRY400
