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

from gateway.config import AuditLog

_logger = logging.getLogger("gateway.audit")

Value = str | int | bool | None


class Audit:
    """Writes the audit log of one gateway."""

    def __init__(self, settings: AuditLog) -> None:
        self.requests = settings.requests
        _logger.setLevel(logging.INFO)
        _logger.propagate = False
        for handler in _logger.handlers[:]:
            _logger.removeHandler(handler)
            handler.close()
        handler = (
            logging.StreamHandler(sys.stderr)
            if settings.file == "-"
            else logging.FileHandler(Path(settings.file), delay=True)
        )
        handler.setFormatter(logging.Formatter("%(message)s"))
        _logger.addHandler(handler)

    def record(self, event: str, **members: Value) -> None:
        """Write one event; members that are ``None`` are left out."""
        line: dict[str, Value] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
        }
        line |= {name: value for name, value in members.items() if value is not None}
        _logger.info("%s", json.dumps(line, ensure_ascii=True))
