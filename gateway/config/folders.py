"""Who may write to a folder that the configuration names."""

from __future__ import annotations

import stat
from pathlib import Path


def folder_open_to_all(folder: Path) -> Path | None:
    """Return the folder through which every user can replace a file in ``folder``, if there is one.

    It is ``folder`` itself or one further up. There the sticky bit suffices: with it, nobody
    renames a folder of somebody else. Raises OSError if ``folder`` cannot be looked at.
    """
    resolved = folder.resolve()
    for each in (resolved, *resolved.parents):
        mode = each.stat().st_mode
        is_sticky = each != resolved and mode & stat.S_ISVTX
        if mode & stat.S_IWOTH and not is_sticky:
            return each
    return None
