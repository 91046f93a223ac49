"""What may cross the gateway: header fields, the request's target, and where it came from.

Pure functions over strings: RFC 9110 §7.6 (forwarding), RFC 9112 §3 (target and Host) and
RFC 7239 (Forwarded). Header fields come out of a WSGI environ, where ``X-A`` and ``X_A`` are
one key, so every comparison of names is made in that spelling, upper case with ``_``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from wsgiref.types import WSGIEnvironment

from gateway.http.bounded_cache import BoundedCache
from gateway.http.proxy_errors import bad_request

#: RFC 9110 §7.6.1 with its list of fields that are hop-by-hop even when not named in
#: Connection, and those of RFC 7235's proxies. HTTP2-Settings belongs to ``Upgrade: h2c``.
HOP_BY_HOP = frozenset(
    {
        "CONNECTION",
        "HTTP2_SETTINGS",
        "KEEP_ALIVE",
        "PROXY_AUTHENTICATE",
        "PROXY_AUTHENTICATION_INFO",
        "PROXY_AUTHORIZATION",
        "PROXY_CONNECTION",
        "TE",
        "TRAILER",
        "TRANSFER_ENCODING",
        "UPGRADE",
    }
)

#: Written afresh for the backend, so what the client sent never stands beside it. ``Expect``
#: was answered by the server in front; ``Proxy`` would become HTTP_PROXY in a CGI backend.
_WRITTEN_AFRESH = frozenset(
    {
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "EXPECT",
        "FORWARDED",
        "HOST",
        "PROXY",
        "VIA",
        "X_FORWARDED_FOR",
        "X_FORWARDED_HOST",
        "X_FORWARDED_PROTO",
    }
)

#: What only a proxy in front may say: a client that says it wants to be taken for one.
_PROXY_CLAIMS = ("X_FORWARDED_", "X_ORIGINAL_", "X_REWRITE_", "X_REAL_IP")

_USUAL_CONNECTION = frozenset({"", "close", "keep-alive"})

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")
#: RFC 9112 §3.2.1 origin-form: a path and a query, of which "#" is never a part.
_ORIGIN_FORM = re.compile(r"/[!\"$-~]*")
_ABSOLUTE_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://([^/?#]*)(.*)")
#: Characters whose spelling decoding cannot have changed, or that mean the same either way.
_UNAMBIGUOUS_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*")
#: RFC 3986 §3.2.2 and §3.2.3 without user information, list separators and quotes.
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]+)(?::[0-9]*)?")


def environ_spelling(name: str) -> str:
    """Give the one spelling that every way to write a header name comes down to."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def is_reserved(name: str) -> bool:
    """Whether a header belongs to the connection or the framing, so nobody may set it."""
    spelled = environ_spelling(name)
    return spelled in HOP_BY_HOP or spelled in {"CONTENT_LENGTH", "EXPECT"}


def is_field_name(name: str) -> bool:
    """Whether a name can stand in a header field (RFC 9110 §5.1)."""
    return _TOKEN.fullmatch(name) is not None


def is_field_value(value: str) -> bool:
    """Whether a value can stand in a header field, as bytes in Latin-1 (RFC 9110 §5.5)."""
    return _FIELD_VALUE.fullmatch(value) is not None


class HeaderNames(BoundedCache[str]):
    """From an environ key to the beginning of its header line; '' for what stays here.

    ``dropped`` are names in any spelling that are not taken from the client. From a peer
    that is not ``trusted``, nothing is taken that only a proxy may say.
    """

    def __init__(self, dropped: Iterable[str] = (), *, trusted: bool = False) -> None:
        super().__init__()
        self._dropped = frozenset(environ_spelling(name) for name in dropped)
        self._trusted = trusted

    def without(self, names: Iterable[str]) -> HeaderNames:
        """Give a table that drops ``names`` as well."""
        return HeaderNames(self._dropped.union(names), trusted=self._trusted)

    def compute(self, key: str) -> str:
        """Return the beginning of the line of ``key``."""
        if key == "CONTENT_TYPE":
            return "" if key in self._dropped else "Content-Type: "
        name = key[5:]
        if not key.startswith("HTTP_") or _TOKEN.fullmatch(name) is None:
            return ""
        spelled = environ_spelling(name)
        if spelled in HOP_BY_HOP or spelled in _WRITTEN_AFRESH or spelled in self._dropped:
            return ""
        if not self._trusted and spelled.startswith(_PROXY_CLAIMS):
            return ""
        return "-".join(part.capitalize() for part in name.split("_")) + ": "


def connection_options(value: str) -> frozenset[str]:
    """Give the header names that a Connection field lists (RFC 9110 §7.6.1), environ-spelled.

    The options that name no header field are left out.
    """
    if value.lower() in _USUAL_CONNECTION:
        return frozenset()
    options = {environ_spelling(option.strip(" \t")) for option in value.split(",")}
    return frozenset(options - {"", "CLOSE", "KEEP_ALIVE"})


def request_target(environ: WSGIEnvironment) -> str:
    """Give the origin-form target to forward, byte for byte what was judged or received.

    The gateway's own decision counts first, then the server's raw target, whose host is
    taken off an absolute-form. Without either, the decoded path is used only where decoding
    can have lost nothing. Raises a 400 :class:`ProxyError` otherwise (RFC 9112 §3.2).
    """
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    if raw and not raw.startswith("/"):
        raw = _origin_form(raw, environ.get("HTTP_HOST", ""))
    target: str = environ.get("gateway.target") or raw or _rebuilt_target(environ)
    if _ORIGIN_FORM.fullmatch(target) is None:
        raise bad_request("The request target is not a path.")
    return target


def _origin_form(raw: str, host: str) -> str:
    """Take the authority off an absolute-form target, which must agree with Host."""
    match = _ABSOLUTE_FORM.fullmatch(raw)
    if match is None:
        raise bad_request("The request target is not a path.")
    authority, path = match.groups()
    if authority.lower() != host.lower():
        raise bad_request("The request target and the Host field name different hosts.")
    return path if path.startswith("/") else "/" + path


def _rebuilt_target(environ: WSGIEnvironment) -> str:
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if _UNAMBIGUOUS_PATH.fullmatch(path) is None:
        raise bad_request("This server does not tell how the path was written.")
    query = environ.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path


def request_host(environ: WSGIEnvironment) -> str:
    """Give the Host field; '' where HTTP/1.0 came without. Raises 400 (RFC 9112 §3.2)."""
    host: str | None = environ.get("HTTP_HOST")
    if host is None:
        if environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            return ""
        raise bad_request("The Host field is missing.")
    if _HOST.fullmatch(host) is None:
        raise bad_request("The Host field is not one host.")
    return host


def forwarded_node(peer: str) -> str:
    """Write one address as RFC 7239 §6 wants it; what is no address becomes ``unknown``."""
    try:
        address = ip_address(peer.strip(" \t"))
    except ValueError:
        return "unknown"
    return f'"[{address}]"' if isinstance(address, IPv6Address) else str(address)


@lru_cache(maxsize=4096)
def forwarded_afresh(peer: str, scheme: str, host: str, omitted: frozenset[str]) -> str:
    """Give the header lines that tell the backend where a request came from.

    ``omitted`` are environ-spelled names that somebody else writes. Without a peer address
    or a Host, the lines that would name them are left out.
    """
    element = f"for={forwarded_node(peer)}"
    if host:
        element += f';host="{host}"'
    fields = {
        "X-Forwarded-For": peer,
        "X-Forwarded-Host": host,
        "X-Forwarded-Proto": scheme,
        "Forwarded": f"{element};proto={scheme}",
    }
    return _lines(fields, omitted)


def forwarded_extended(
    environ: WSGIEnvironment, peer: str, scheme: str, host: str, omitted: frozenset[str]
) -> str:
    """Give the same lines for a trusted proxy, whose own come first and are kept.

    A Forwarded field is made of the others where the proxy sent none (RFC 7239 §7.4), so
    that both ways of telling say the same.
    """
    chain = environ.get("HTTP_X_FORWARDED_FOR", "")
    told_host = environ.get("HTTP_X_FORWARDED_HOST", "")
    told_scheme = environ.get("HTTP_X_FORWARDED_PROTO", "")
    forwarded = environ.get("HTTP_FORWARDED", "")
    here = f"for={forwarded_node(peer)}"
    if host:
        here += f';host="{host}"'
    here += f";proto={scheme}"
    if not forwarded and chain:
        first, *others = [f"for={forwarded_node(node)}" for node in chain.split(",")]
        if _HOST.fullmatch(told_host):
            first += f';host="{told_host}"'
        if _TOKEN.fullmatch(told_scheme):
            first += f";proto={told_scheme}"
        forwarded = ", ".join([first, *others])
    fields = {
        "X-Forwarded-For": ", ".join(filter(None, [chain, peer])),
        "X-Forwarded-Host": told_host or host,
        "X-Forwarded-Proto": told_scheme or scheme,
        "Forwarded": ", ".join(filter(None, [forwarded, here])),
    }
    if not all(map(is_field_value, fields.values())):
        raise bad_request("A header field holds control characters.")
    return _lines(fields, omitted)


def _lines(fields: dict[str, str], omitted: frozenset[str]) -> str:
    return "".join(
        f"{name}: {value}\r\n"
        for name, value in fields.items()
        if value and environ_spelling(name) not in omitted
    )


def via(received: str, version: str, name: str) -> str:
    """Give the value of Via with this gateway behind those before it (RFC 9110 §7.6.3).

    ``received`` is '' where there was none, ``version`` that of the received message.
    """
    return f"{received}, {version} {name}" if received else f"{version} {name}"


def went_through(received: str, name: str) -> bool:
    """Whether a Via field says that the message went through ``name`` before."""
    return any(name in hop.split()[1:2] for hop in received.split(","))


class AnswerNames(BoundedCache[bytes]):
    """From a header name of the backend's answer to its WSGI string; '' for hop-by-hop."""

    def compute(self, name: bytes) -> str:
        """Return the name as WSGI has it."""
        text = name.decode("latin-1")
        return "" if environ_spelling(text) in HOP_BY_HOP else text
