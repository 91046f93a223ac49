"""The number of the format in which this version keeps things (docs/storage.md, "Formats")."""

from __future__ import annotations

#: In every value that this version writes.
FORMAT = 1

#: The newest format that this version reads: that of the next version, beside which it may run.
NEWEST_READABLE = FORMAT + 1
