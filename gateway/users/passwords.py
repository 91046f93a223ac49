"""Hashes of the passwords in the configuration file: scrypt, by werkzeug.security.

Hashing takes tens of milliseconds of one core. It runs in a few native threads, under gevent too,
so that sign-ins never stall the requests that are being forwarded. The sign-ins wait for them in a
queue (:mod:`gateway.users.hashing_queue`).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Protocol
from unicodedata import normalize

from werkzeug.security import check_password_hash, generate_password_hash

from gateway.users.hashing_queue import THREADS

# The method and costs of hash_password().
_DEFAULT_METHOD = "scrypt:32768:8:1"

#: A longer password is refused before it is hashed.
LONGEST_PASSWORD = 1024


class _Pool(Protocol):
    """Runs a check in a native thread, and returns its result."""

    def __call__(self, check: Callable[[], bool]) -> bool: ...


def hash_password(password: str) -> str:
    """Return the hash for the configuration file, ``scrypt:…``."""
    return generate_password_hash(normalize("NFC", password), method="scrypt")


def password_matches(password_hash: str, password: str) -> bool:
    """Tell whether a password has this hash."""
    if len(password) > LONGEST_PASSWORD:
        return False
    # RFC 8265 §4.2: passwords are compared in NFC. A hash that an earlier version made may be of
    # the other spelling, so that one is tried as well.
    spellings = dict.fromkeys((normalize("NFC", password), password, normalize("NFD", password)))
    return _native_threads()(
        lambda: any(check_password_hash(password_hash, each) for each in spellings)
    )


def nobodys_hash(name: str, password_hashes: Sequence[str]) -> str:
    """Return a hash that no password has, to check for a name that no user has.

    Checking it takes as long as checking one of ``password_hashes``, those of the users, so that
    the time does not reveal which users exist. The name decides which one of them it is: always
    the same one, and nobody who does not know the hashes can compute it.
    """
    method = _DEFAULT_METHOD
    if password_hashes:
        key = "\n".join(password_hashes).encode()
        choice = hmac.digest(key, name.encode("utf-8", "surrogatepass"), "sha256")
        chosen = password_hashes[int.from_bytes(choice) % len(password_hashes)]
        method = chosen.partition("$")[0]
    # No digest is one character long.
    return f"{method}$nobody$0"


@cache
def _native_threads() -> _Pool:
    gevent_pool = _gevent_pool()
    if gevent_pool is not None:
        return gevent_pool
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="password")
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

    pool = ThreadPool(THREADS, hub=get_hub())
    return lambda check: bool(pool.apply(check))
