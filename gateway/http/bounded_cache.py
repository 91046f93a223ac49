"""A cache of strings for names that a client or a backend may choose."""

from __future__ import annotations

from typing import TypeVar

Name = TypeVar("Name", str, bytes)

#: Somebody may send new names without end, or long ones. The table keeps no more than these.
_NAMES = 1024
_LONGEST = 64


class BoundedCache(dict[Name, str]):
    """From a name to the result of :meth:`compute`; errors of that are not kept."""

    def __missing__(self, name: Name) -> str:
        """Compute the string of a name, and keep it if the name is an ordinary one."""
        computed = self.compute(name)
        if len(self) < _NAMES and len(name) <= _LONGEST:
            self[name] = computed
        return computed

    def compute(self, name: Name) -> str:
        """Return the string that belongs to ``name``."""
        raise NotImplementedError
