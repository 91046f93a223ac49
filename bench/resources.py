"""Memory and processor time of a server's processes, from Linux's /proc."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Server:
    """A server, by the id of its first process; its child processes count as well."""

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
        """Reset the peak of the memory to the present use."""
        for pid in self.processes():
            with suppress(OSError):
                (_PROC / f"{pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """Return the sum of the peaks since; pages that processes share count for each of them."""
        return self._memory("VmHWM")

    def resident_bytes(self) -> int:
        """Return the sum of the present resident sets."""
        return self._memory("VmRSS")

    def cpu_seconds(self) -> float:
        """Return the processor time that the server has used so far."""
        ticks = 0
        for pid in self.processes():
            with suppress(FileNotFoundError):
                # The fields follow the process's name in parentheses, which may hold any character.
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
