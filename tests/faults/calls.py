"""How the gateway's calls look on their way to the store."""

from __future__ import annotations

from importlib.resources import files

from gateway.store.redis_client import Script, script

#: A validation reads the grant. (Scripts that are sent in full have other bytes around GET.)
VALIDATION = b"$3\r\nGET\r\n$30\r\ngateway:{"

_PACKAGES = ("gateway.tokens", "gateway.store")


def named(name: str) -> Script:
    """Return a script by its name, whichever package it belongs to."""
    (package,) = [
        each for each in _PACKAGES if files(each).joinpath("lua", f"{name}.lua").is_file()
    ]
    return script(package, name)


def calls_of(name: str) -> tuple[bytes, bytes]:
    """Return by which bytes to know a call of a script: by its name, and in full."""
    called = named(name)
    return called.sha1.encode(), called.text.splitlines()[1].encode()
