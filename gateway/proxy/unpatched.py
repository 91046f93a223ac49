"""What gevent replaces, where a greenlet cannot be made to wait and its own only takes longer."""

from __future__ import annotations

import select
import sys
import threading
from typing import Any


def original(module: Any, name: str) -> Any:
    """Return ``module.name`` as the interpreter has it, whether gevent has replaced it or not."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(module, name)
    return monkey.get_original(module.__name__, name)


#: Locks for what is done without waiting, and polls with a timeout of 0.
Lock = original(threading, "Lock")
poll = original(select, "poll")
