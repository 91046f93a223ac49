"""What the processes of a server use: memory and processor time, as Linux tells in /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Server:
    """A server by its first process; its children count as well."""

    pid: int

    def processes(self) -> list[int]:
        """Return the process ids of the server, the first one first."""
        found = [self.pid]
        for pid in found:
            with suppress(FileNotFoundError):
                text = (_PROC / f"{pid}/task/{pid}/children").read_text()
                found.extend(map(int, text.split()))
        return found

    def forget_peak(self) -> None:
        """Let the peak of the memory begin at what is in use now."""
        for pid in self.processes():
            with suppress(OSError):
                (_PROC / f"{pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """Return the largest resident sets since, summed; pages shared after a fork count twice."""
        return self._memory("VmHWM")

    def resident_bytes(self) -> int:
        """Return the resident sets at the moment, summed."""
        return self._memory("VmRSS")

    def cpu_seconds(self) -> float:
        """Return the processor time used so far."""
        ticks = 0
        for pid in self.processes():
            with suppress(FileNotFoundError):
                # After the name in parentheses, which may hold anything.
                fields = (_PROC / f"{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS

    def _memory(self, name: str) -> int:
        kilobytes = 0
        for pid in self.processes():
            with suppress(FileNotFoundError):
                for line in (_PROC / f"{pid}/status").read_text().splitlines():
                    if line.startswith(f"{name}:"):
                        kilobytes += int(line.split()[1])
        return kilobytes * 1024
