"""Hashes of the passwords in the configuration file: scrypt, by werkzeug.security.

Hashing takes tens of milliseconds of one core. It runs in a few native threads, under gevent too,
so that sign-ins never stall the requests that are being forwarded.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Protocol
from unicodedata import normalize

from werkzeug.security import check_password_hash, generate_password_hash

_THREADS = 2

# No password has this hash, and checking it takes as long as checking one of hash_password().
_NOBODYS_HASH = f"scrypt:32768:8:1$nobody${'0' * 128}"

#: A longer password is refused before it is hashed.
LONGEST_PASSWORD = 1024


class _Pool(Protocol):
    """Runs a check in a native thread, and returns its result."""

    def __call__(self, check: Callable[[], bool]) -> bool: ...


def hash_password(password: str) -> str:
    """Return the hash for the configuration file, ``scrypt:…``."""
    return generate_password_hash(normalize("NFC", password), method="scrypt")


def password_matches(password_hash: str | None, password: str) -> bool:
    """Tell whether a password has this hash.

    ``None`` stands for a user that does not exist: the result is False after the same time, so
    that the time does not reveal which users exist.
    """
    if len(password) > LONGEST_PASSWORD:
        return False
    compared = _NOBODYS_HASH if password_hash is None else password_hash
    # RFC 8265 §4.2: passwords are compared in NFC. A hash that an earlier version made may be of
    # the other spelling, so that one is tried as well.
    spellings = dict.fromkeys((normalize("NFC", password), password, normalize("NFD", password)))
    matches = _native_threads()(
        lambda: any(check_password_hash(compared, each) for each in spellings)
    )
    return matches and password_hash is not None


@cache
def _native_threads() -> _Pool:
    gevent_pool = _gevent_pool()
    if gevent_pool is not None:
        return gevent_pool
    executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="password")
    return lambda check: executor.submit(check).result()


def _gevent_pool() -> _Pool | None:
    # Under gevent, the threads of a ThreadPoolExecutor are greenlets, and hashing in one stops
    # every other one. gevent's own pool has native threads.
    try:
        from gevent import get_hub, monkey  # noqa: PLC0415 - gevent is an extra
    except ImportError:
        return None
    if not monkey.is_module_patched("threading"):
        return None
    from gevent.threadpool import ThreadPool  # noqa: PLC0415 - the same

    pool = ThreadPool(_THREADS, hub=get_hub())
    return lambda check: bool(pool.apply(check))
