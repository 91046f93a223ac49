"""Why the store does not work, in words for its operator: which server, and what to mend."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Iterator

from redis.exceptions import AuthenticationError, InvalidResponse, NoPermissionError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.config.settings import Store
from gateway.store.redis_client import StoreUnavailable

_HAS_PORT = re.compile(r":[0-9]+$")
_CLOSED_BY_SERVER = re.compile("Connection closed by server|reset by peer", re.IGNORECASE)

_HAS_TLS = "; if the server has TLS at this port, write rediss, not redis"
_NO_TLS = "; if the server has no TLS at this port, write redis, not rediss"


def fault_words(error: StoreUnavailable, store: Store) -> str:
    """Return the store's address, without login, and why the gateway cannot use the store."""
    if store.url == "embedded":
        return f"the embedded store in {store.data_dir}: {_reason(error, store)}"
    return f"{_address(store.url)}: {_reason(error, store)}"


def _address(url: str) -> str:
    """Return ``store.url`` without user and password, and with every port."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    hosts = authority.rpartition("@")[2]
    if scheme != "unix":
        port = 26379 if scheme.endswith("+sentinel") else 6379
        hosts = ",".join(
            host if _HAS_PORT.search(host) else f"{host}:{port}" for host in hosts.split(",")
        )
    return f"{scheme}://{hosts}{slash}{path}"


def _reason(error: StoreUnavailable, store: Store) -> str:
    for cause in _causes(error):
        for kind, words in _WORDS.items():
            if isinstance(cause, kind):
                return words(cause, store)
    return str(error.__cause__ or error)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield what led to an error, the first cause first: it says most."""
    causes: list[BaseException] = []
    cause = error.__cause__
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    yield from reversed(causes)


def _unresolved(error: BaseException, store: Store) -> str:
    return f"the name does not resolve ({_system_words(error)})"


def _certificate(error: BaseException, store: Store) -> str:
    why = getattr(error, "verify_message", "") or str(error)
    return f"the gateway does not trust the certificate ({why}); see store.ca_file"


def _tls(error: BaseException, store: Store) -> str:
    why = str(getattr(error, "reason", None) or error).replace("_", " ").lower()
    return f"TLS fails ({why}){_NO_TLS}"


def _system(error: BaseException, store: Store) -> str:
    return f"no connection ({_system_words(error)})"


def _system_words(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _login(error: BaseException, store: Store) -> str:
    return f"it refuses the user and password of store.url, or wants some ({error})"


def _permission(error: BaseException, store: Store) -> str:
    return f"the gateway's user may not do what it must ({error}); see docs/storage.md"


def _protocol(error: BaseException, store: Store) -> str:
    return f"what answers there is no Redis{_HAS_TLS}"


def _late(error: BaseException, store: Store) -> str:
    # A server without TLS waits for the rest of what it takes for a command.
    hint = _NO_TLS if store.url.startswith("rediss") else ""
    return f"no answer in time; store.timeout is {store.timeout:g} s{hint}"


def _other(error: BaseException, store: Store) -> str:
    if _CLOSED_BY_SERVER.search(str(error)) and not store.url.startswith("rediss"):
        return f"{error}{_HAS_TLS}"
    return str(error)


#: The words for each kind of cause; the first kind that fits counts.
_WORDS: dict[type[BaseException], Callable[[BaseException, Store], str]] = {
    socket.gaierror: _unresolved,
    ssl.SSLCertVerificationError: _certificate,
    ssl.SSLError: _tls,
    TimeoutError: _late,
    OSError: _system,
    AuthenticationError: _login,
    NoPermissionError: _permission,
    InvalidResponse: _protocol,
    RedisTimeoutError: _late,
    RedisError: _other,
}
