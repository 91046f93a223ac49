"""The paths of rules: ``*`` is one segment or a part of it, ``**`` crosses segments.

All else is literal: ``/mcp`` is neither ``/mcp/`` nor ``/mcp-other``; ``/mcp/**`` is ``/mcp/`` and
all below it. Anybody may send a path of any shape before anything is known about him. So the
time of a match grows with the path's length and no faster: a regular expression is used only
where it never tries anything twice, and :class:`Automaton` for every other pattern.
"""

from __future__ import annotations

import re
from collections import defaultdict

_WILDCARDS = re.compile(r"(\*\*+|\*)")


def linear_expression(pattern: str) -> str | None:
    """Return a regular expression that takes linear time, ``None`` if there is none.

    ``*`` before a slash or at the end has one way to match, and so has ``**`` at the end.
    A wildcard in any other place has many, so it must be the only one.
    """
    parts = _WILDCARDS.split(pattern)
    written: list[str] = []
    ways = 1
    for part, after in zip(parts, [*parts[1:], ""], strict=True):
        if not part.startswith("*"):
            written.append(re.escape(part))
        elif part == "*":
            is_whole = not after or after.startswith("/")
            written.append("[^/]*+" if is_whole else "[^/]*")
            ways += not is_whole
        else:
            is_last = not after
            written.append(".*+" if is_last else ".*")
            ways += not is_last
    wildcards = len(parts) // 2
    return "".join(written) if ways == 1 or wildcards == 1 else None


def spells_ending(pattern: str) -> bool:
    """Tell whether a rule itself spells the end of the last name, as ``*.css`` does."""
    return "." in pattern.rstrip("/").rpartition("/")[2]


class Automaton:
    """Matches any pattern: one step for each character, whatever came before.

    It holds the set of all places in the pattern that can be reached, as the bits of a number
    (Baeza-Yates and Gonnet 1992, "A New Approach to Text Searching").
    """

    __slots__ = ("_across", "_end", "_literals", "_prefix", "_start", "_suffix", "_wildcards")

    def __init__(self, pattern: str) -> None:
        self._prefix = pattern.partition("*")[0]
        self._suffix = pattern.rpartition("*")[2]
        self._literals: defaultdict[str, int] = defaultdict(int)
        self._wildcards = self._across = 0
        place = 1
        for part in _WILDCARDS.split(pattern):
            if part.startswith("*"):
                self._wildcards |= place
                self._across |= place if len(part) > 1 else 0
                place <<= 1
                continue
            for character in part:
                self._literals[character] |= place
                place <<= 1
        self._end = place
        self._start = 1 | (1 & self._wildcards) << 1

    def fullmatch(self, path: str) -> bool:
        """Tell whether the whole of ``path`` matches."""
        # Most paths are another rule's, and differ at one of the ends.
        if not (path.startswith(self._prefix) and path.endswith(self._suffix)):
            return False
        literals, wildcards, across = self._literals, self._wildcards, self._across
        places = self._start
        for character in path:
            onwards = (places & literals.get(character, 0)) << 1
            places = onwards | places & (across if character == "/" else wildcards)
            if not places:
                return False
            # A wildcard also stands for nothing.
            places |= (places & wildcards) << 1
        return bool(places & self._end)
