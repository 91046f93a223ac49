"""The audit log: one JSON object a line for each decision, with stable names.

``docs/audit.md`` lists the events and their members. A grant is named by its id, which is no
secret. Codes, tokens, secrets, passwords and session ids never come here.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Protocol

from gateway.config.settings import AuditLog
from gateway.http.judged_request import JudgedRequest
from gateway.observe.audit_file import AuditFile

logger = logging.getLogger("gateway.audit")

Value = str | int | bool | None


class Decision(Protocol):
    """What the log reads of a decision about a request: see :mod:`gateway.access.decisions`."""

    allowed: ClassVar[bool]

    def audit_members(self) -> dict[str, Value]:
        """Return the reason, and whom it is about, as members of the line."""


class Audit:
    """Writes the audit log of one gateway."""

    def __init__(self, settings: AuditLog) -> None:
        self._logs_allowed = settings.requests
        self._file = None if settings.file == "-" else AuditFile(Path(settings.file))

    def logs(self, decision: Decision) -> bool:
        """Tell whether a decision has a line: with ``audit.requests = false`` a refusal alone."""
        return self._logs_allowed or not decision.allowed

    def decision(self, request: JudgedRequest, decision: Decision) -> None:
        """Write the decision about a request to the backend, if it has a line."""
        if not self.logs(decision):
            return
        members: dict[str, Value] = {
            "outcome": "allowed" if decision.allowed else "refused",
            "method": request.method,
            "path": request.path,
            "address": request.address,
        }
        self._write("request", members | decision.audit_members())

    def record(self, event: str, **members: Value) -> None:
        """Write one event; members that are ``None`` are left out.

        Never raises: if the line cannot be written, the log says so, and the request goes on.
        """
        self._write(event, members)

    def _write(self, event: str, members: dict[str, Value]) -> None:
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
