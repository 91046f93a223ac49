"""How a call of one of the gateway's scripts looks on its way to the store."""

from __future__ import annotations

from gateway.store.redis_client import script


def calls_of(name: str) -> tuple[bytes, bytes]:
    """Return by which bytes to know a call of a script: by its name, and in full."""
    called = script(name)
    return called.sha1.encode(), called.text.splitlines()[1].encode()
