"""The target of a request and its Host field (RFC 9112 §3)."""

from __future__ import annotations

import re
from wsgiref.types import WSGIEnvironment

from gateway.http.proxy_errors import bad_request
from gateway.http.targets import same_authority

#: RFC 9112 §3.2.1 origin-form: a path and a query, of which "#" is never a part.
_ORIGIN_FORM = re.compile(r"/[!\"$-~]*")
#: RFC 9112 §3.2.2.
_ABSOLUTE_FORM = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)(.*)")
#: Decoding cannot have changed the spelling of these characters, or they mean the same either way.
_UNAMBIGUOUS_PATH = re.compile(r"/[A-Za-z0-9\-._~!$&'()*+,;=:@/]*")
#: RFC 3986 §3.2.2 and §3.2.3 without user information, list separators and quotes. A host has 255
#: characters at most, and a port five: the gateway remembers lines for the hosts it has seen.
_HOST = re.compile(r"(?!.{262})(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+;=]+)(?::[0-9]*)?")


def is_origin_form(target: str) -> bool:
    """Tell whether a target is a path, perhaps with a query (RFC 9112 §3.2.1)."""
    return _ORIGIN_FORM.fullmatch(target) is not None


def is_host(host: str) -> bool:
    """Tell whether a text is one host, perhaps with a port (RFC 9110 §7.2)."""
    return _HOST.fullmatch(host) is not None


def raw_target(environ: WSGIEnvironment) -> str:
    """Return the target as the client sent it, '' where the WSGI server does not tell it."""
    raw: str = environ.get("RAW_URI") or environ.get("REQUEST_URI") or ""
    return raw


def request_target(environ: WSGIEnvironment) -> str:
    """Return the origin-form target to forward, byte for byte as it was judged or received.

    The target that the gateway has judged counts first, then the server's raw target, whose
    host is taken off an absolute-form. Without either, the decoded path counts where decoding
    can have lost nothing. Raises a 400 :class:`ProxyError` for any other target (RFC 9112 §3.2).
    """
    raw = raw_target(environ)
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
    scheme, authority, path = match.groups()
    if not same_authority(scheme, authority, host):
        raise bad_request("The request target and the Host field name different hosts.")
    return path if path.startswith("/") else "/" + path


def _rebuilt_target(environ: WSGIEnvironment) -> str:
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    if _UNAMBIGUOUS_PATH.fullmatch(path) is None:
        raise bad_request("This server does not tell how the path was written.")
    query = environ.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path


def request_host(environ: WSGIEnvironment) -> str:
    """Return the Host field, '' where HTTP/1.0 came without. Raises 400 (RFC 9112 §3.2)."""
    host: str | None = environ.get("HTTP_HOST")
    if host is None:
        if environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            return ""
        raise bad_request("The Host field is missing.")
    if _HOST.fullmatch(host) is None:
        raise bad_request("The Host field is not one host.")
    return host
