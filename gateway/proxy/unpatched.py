"""The interpreter's own lock and poll, which gevent replaces with slower ones.

They are for uses that never make a greenlet wait.
"""

from __future__ import annotations

import select
import sys
import threading
from typing import Any


def original(module: Any, name: str) -> Any:
    """Return the interpreter's own ``module.name``, whether gevent has replaced it or not."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(module, name)
    return monkey.get_original(module.__name__, name)


#: For locks that are held without waiting, and for polls with a timeout of 0.
Lock = original(threading, "Lock")
poll = original(select, "poll")
