"""Rules for one value of the configuration: one rule a function.

A rule takes a string. It returns what is wrong with it, as the words that follow the name of the
key, or ``None``. No message repeats the value: URLs of stores and backends may carry passwords.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, get_args

from gateway.http.header_policy import (
    FRAMING,
    NOT_FOR_IDENTITY,
    fold,
    is_field_name,
    is_field_value,
    is_method,
)

#: What a client may be registered for (RFC 6749 §4.1, §4.4 and §6).
GrantType = Literal["authorization_code", "refresh_token", "client_credentials"]
GRANT_TYPES: tuple[GrantType, ...] = get_args(GrantType)

_MOST_PORT = 65_535

# RFC 3986 §3.2.2 and §3.2.3. Underscores are in the names of containers.
_HOST_AND_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::([0-9]{1,5}))?")
_NUMBERS_AND_DOTS = re.compile(r"[0-9.]+")

# RFC 3986 §3.3, one segment as it is sent; without escapes first, then with well-formed ones.
_PLAIN_SEGMENT = r"[A-Za-z0-9\-._~!$&'()*+,;=:@]"
_PLAIN_PATH = re.compile(rf"(?:/{_PLAIN_SEGMENT}+)+/?")
_PATH = re.compile(rf"(?:/(?:{_PLAIN_SEGMENT}|%[0-9A-Fa-f]{{2}})*)+")
_QUERY = re.compile(rf"(?:{_PLAIN_SEGMENT}|[/?]|%[0-9A-Fa-f]{{2}})*")
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?:[/;]|$)", re.IGNORECASE)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")

_UNIX_SOCKET = re.compile(r"unix:/[^/\0-\x1f][^\0-\x1f]*")
_DATABASE = re.compile(r"(/[0-9]{0,5})?")
_SENTINEL_SERVICE = re.compile(r"(/([A-Za-z0-9._-]+(/[0-9]{0,5})?)?)?")
_KEY_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_COOKIE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

#: The schemes of ``store.url``, and what may follow the hosts: a database or a service.
_STORE_PATHS = {
    "redis": _DATABASE,
    "rediss": _DATABASE,
    "redis+sentinel": _SENTINEL_SERVICE,
    "rediss+sentinel": _SENTINEL_SERVICE,
    "redis+cluster": re.compile(r"/?"),
    "rediss+cluster": re.compile(r"/?"),
}

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_CLIENT_ID = re.compile(r"[\x20-\x7e]{1,255}")


# --- Hosts and URLs


def issuer_fault(issuer: str) -> str | None:
    """RFC 8414 §2: a URL without query or fragment, which clients compare as it is (§3.3)."""
    scheme, separator, rest = issuer.partition("://")
    if not separator or scheme not in {"http", "https"}:
        return "must be an http or https URL"
    if "?" in rest or "#" in rest:
        return "must have no query and no fragment (RFC 8414 section 2)"
    authority, slash, path = rest.partition("/")
    if (fault := _authority_fault(authority)) is not None:
        return fault
    if issuer.endswith("/"):
        return "must not end in a slash"
    default_port = {"http": ":80", "https": ":443"}[scheme]
    if authority != authority.lower() or authority.endswith(default_port):
        return "must be as browsers write an origin: in lower case, without the default port"
    return path_fault(slash + path) if path else None


def origin_fault(origin: str) -> str | None:
    """RFC 6454 §6.2: an origin, spelled as browsers send it."""
    if not _ORIGIN.fullmatch(origin):
        return "must be an origin, as browsers send it: https://app.example"
    return issuer_fault(origin) if origin.startswith(("http:", "https:")) else None


_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def listen_fault(address: str) -> str | None:
    """Take ``HOST:PORT``, ``[::1]:8000`` or ``unix:/path``; port 0 is any free one."""
    if address.startswith("unix:"):
        return _unix_socket_fault(address)
    if not re.search(r":[0-9]+$", address.rpartition("]")[2]):
        return "must be HOST:PORT, [IPV6]:PORT or unix:/path"
    return _authority_fault(address, least_port=0)


def socket_mode_fault(mode: str) -> str | None:
    """Take octal digits as chmod does, without the right of every user to connect."""
    if re.fullmatch(r"0?[0-7]{3}", mode) is None:
        return 'must be octal digits such as "0660"'
    if int(mode, 8) & 0o002:
        return "must not let every user connect: whoever connects may be taken for a proxy"
    return None


def upstream_url_fault(url: str) -> str | None:
    """Take a scheme, a host and a port, and nothing more: the target comes from the client."""
    if url.startswith("unix:"):
        return _unix_socket_fault(url)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"http", "https"}:
        return "must be an http or https URL, or unix:/path"
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if (fault := _authority_fault(authority)) is not None:
        return fault
    if rest != authority:
        return "must end after the host and port: the client's target is forwarded byte for byte"
    return None


def store_url_fault(url: str) -> str | None:
    """Take ``embedded``, or the URL of one Redis, of its Sentinels, or of a cluster."""
    scheme, separator, rest = url.partition("://")
    if url == "embedded" or (scheme == "unix" and re.fullmatch(r"([^/@]*:[^/@]*@)?/[^?#]+", rest)):
        return None
    if scheme == "unix":
        return "must be unix:///path, from the root and without a query"
    if not separator or scheme not in _STORE_PATHS:
        return f"must be embedded, or a URL that begins with {', '.join(_STORE_PATHS)} or unix"
    if "?" in rest or "#" in rest:
        return "must have no query and no fragment; in a password write them as %3F and %23"
    authority, slash, path = rest.partition("/")
    credentials, at_sign, hosts = authority.rpartition("@")
    if at_sign and ":" not in credentials:
        return "must have its credentials as user:password@ or :password@"
    for host in hosts.split(","):
        if (fault := _authority_fault(host)) is not None:
            return fault
    if not _STORE_PATHS[scheme].fullmatch(slash + path):
        return _store_path_fault(scheme)
    return None


def _store_path_fault(scheme: str) -> str:
    if scheme.endswith("+cluster"):
        return "must end after the hosts: a cluster has one database"
    if scheme.endswith("+sentinel"):
        return "must end in /SERVICE or /SERVICE/DATABASE, such as /mymaster/0"
    return "must end in /DATABASE, a number, or after the port"


def _unix_socket_fault(address: str) -> str | None:
    return None if _UNIX_SOCKET.fullmatch(address) else "must be unix:/path, from the root"


def _authority_fault(authority: str, least_port: int = 1) -> str | None:
    """RFC 3986 §3.2: a host and perhaps a port, without user information."""
    if "@" in authority:
        return "must have no user or password before the host"
    parts = _HOST_AND_PORT.fullmatch(authority)
    if parts is None or not _is_host(parts[1], parts[2]):
        return "must have a host that can be read, and a port if any"
    if parts[3] is not None and not least_port <= int(parts[3]) <= _MOST_PORT:
        return f"must have a port from {least_port} to {_MOST_PORT}"
    return None


def _is_host(ipv6: str | None, name: str | None) -> bool:
    try:
        if ipv6 is not None:
            IPv6Address(ipv6)
        elif name is not None and _NUMBERS_AND_DOTS.fullmatch(name):
            IPv4Address(name)
    except ValueError:
        return False
    return name is None or not (name.startswith((".", "-")) or ".." in name)


# --- Paths


def endpoint_path_fault(path: str) -> str | None:
    """Take a path with one spelling: no escapes, dot segments or empty segments."""
    if path == "/":
        return "must not be the root, which is the backend's"
    if not _PLAIN_PATH.fullmatch(path):
        return "must be a path that begins with '/', without query, escapes or empty segments"
    return _dot_segment_fault(path)


def path_fault(path: str) -> str | None:
    """RFC 3986 §3.3: an absolute path as it is sent, with every escape well-formed."""
    if not path.startswith("/"):
        return "must begin with '/'"
    if not _PATH.fullmatch(path):
        return "must have no query, no fragment, and only characters of a path, others as %XX"
    return _dot_segment_fault(path)


def route_path_fault(pattern: str) -> str | None:
    """Take a path in which ``*`` stands for a part of a segment, ``**`` for any segments.

    The gateway compares it with decoded paths, so an escape in it would match nothing. A path that
    :mod:`gateway.http.paths` refuses or reads in two ways cannot be a rule.
    """
    if not pattern.startswith("/"):
        return "must begin with '/'"
    if "?" in pattern or "#" in pattern:
        return "must have no query and no fragment"
    if _ESCAPE.search(pattern):
        return "must be written decoded: a space as a space, not as %20"
    if "\\" in pattern or not pattern.isprintable():
        return "must have no backslashes and no control characters"
    if "***" in pattern:
        return "must have * for a part of a segment or ** for segments, not more stars"
    if "//" in pattern:
        return "must have no empty segments"
    return _dot_segment_fault(pattern)


def host_name_fault(host: str) -> str | None:
    """RFC 3986 §3.2.2: a name or an address, as a rule names it: without a port."""
    if not host or _HOST_NAME.fullmatch(host):
        return None
    return "must be a host in lower case, without a port: shop.example"


_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\]")


def backend_target_fault(target: str) -> str | None:
    """RFC 9112 §3.2.1, origin-form: a path of the backend, perhaps with a query."""
    path, _, query = target.partition("?")
    if path.startswith("//"):
        return "must begin with one '/', not two"
    if not _QUERY.fullmatch(query):
        return "must have a query of characters that a URL has, others as %XX"
    return path_fault(path)


def login_url_fault(target: str) -> str | None:
    """Take a target of the backend with ``{next}`` once, for the address to come back to."""
    if target.count("{next}") != 1:
        return "must have {next} once, where the address to come back to belongs"
    return backend_target_fault(target.replace("{next}", "next"))


def _dot_segment_fault(path: str) -> str | None:
    return "must have no dot segments" if _DOT_SEGMENT.search(path) else None


# --- Header fields


def field_name_fault(name: str) -> str | None:
    """RFC 9110 §5.1: a token."""
    return None if is_field_name(name) else "must be a header name"


def field_value_fault(value: str) -> str | None:
    """RFC 9110 §5.5: no control characters, above all no CR, LF or NUL; bytes are Latin-1."""
    if not is_field_value(value):
        return "must have no control characters and none beyond Latin-1"
    return None


def upstream_header_fault(name: str) -> str | None:
    """Take a field that can be added to any request, because it does not frame the request."""
    if fold(name) in FRAMING:
        return "must not be set: it belongs to the connection to the backend"
    return field_name_fault(name)


def identity_header_fault(name: str) -> str | None:
    """Take a field that has no meaning of its own, so that it can carry a name."""
    if fold(name) in NOT_FOR_IDENTITY:
        return "must be a header of its own, not one with another meaning"
    return field_name_fault(name)


def remote_user_header_fault(name: str) -> str | None:
    """Take a field that can carry a name, or nothing."""
    return identity_header_fault(name) if name else None


def method_fault(method: str) -> str | None:
    """RFC 9110 §9.1: a token. Methods are case-sensitive, and all in use are in upper case."""
    if not is_method(method) or method != method.upper():
        return "must be a method in upper case"
    return None


# --- Names and secrets


def not_empty(value: str) -> str | None:
    """Take a text that is more than spaces."""
    return None if value.strip() else "must not be empty"


def cookie_name_fault(name: str) -> str | None:
    """Take letters, digits, '_' and '-'; the gateway itself adds the prefix ``__Host-``."""
    if not _COOKIE_NAME.fullmatch(name) or name.lower().startswith(("__host-", "__secure-")):
        return "must be 1 to 64 letters, digits, '_' or '-', without the prefix __Host-"
    return None


def printable(value: str) -> str | None:
    """Take no character that a header or a reader could lose: a backend decides by this name."""
    return None if value.isprintable() else "must have no control characters"


def one_line(value: str) -> str | None:
    """Take no control characters: names are shown on pages, in logs and in headers.

    Persian words and emoji have joiners (U+200C, U+200D), and these are no control characters. The
    marks that turn the direction of a text are: with them a name shows as another one.
    """
    text = value.replace("\u200c", "").replace("\u200d", "")
    return None if text.isprintable() else "must have no control characters"


def file_name_fault(name: str) -> str | None:
    """Take a string that can be a path of the operating system."""
    return "must be the name of a file" if not name or "\0" in name else None


def key_prefix_fault(prefix: str) -> str | None:
    """Take no braces (the hash tag of a cluster) and no character that a pattern would expand."""
    if not _KEY_PREFIX.fullmatch(prefix):
        return "must be 1 to 64 letters, digits, '_', '.', ':' or '-'"
    return None


def scope_token_fault(scope: str) -> str | None:
    """RFC 6749 §3.3: printable ASCII without space, quotation mark and backslash."""
    return None if _SCOPE_TOKEN.fullmatch(scope) else "must be a scope-token (RFC 6749 section 3.3)"


def client_id_fault(client_id: str) -> str | None:
    """RFC 6749 appendix A.1: printable ASCII."""
    if not _CLIENT_ID.fullmatch(client_id):
        return "must be 1 to 255 printable ASCII characters (RFC 6749 appendix A.1)"
    return None
