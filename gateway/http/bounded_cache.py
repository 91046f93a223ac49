"""What a name becomes, worked out once: for names that a client or a backend may choose."""

from __future__ import annotations

from typing import TypeVar

Name = TypeVar("Name", str, bytes)

#: Whoever invents names without end, or long ones, does not make the tables grow for ever.
_NAMES = 1024
_LONGEST = 64


class BoundedCache(dict[Name, str]):
    """From a name to what :meth:`compute` gives for it; what that raises is not remembered."""

    def __missing__(self, name: Name) -> str:
        """Work a name out, and remember it if it is an ordinary one."""
        found = self.compute(name)
        if len(self) < _NAMES and len(name) <= _LONGEST:
            self[name] = found
        return found

    def compute(self, name: Name) -> str:
        """Return what belongs to ``name``."""
        raise NotImplementedError
