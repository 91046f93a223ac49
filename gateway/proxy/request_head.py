"""The head of a request as the backend gets it: one pass over the environ, one string.

This is the hot path. What a header key becomes is looked up, not computed; what the gateway
adds is written once, or remembered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from wsgiref.types import WSGIEnvironment

from gateway.config.settings import Server, Upstream
from gateway.http import peers
from gateway.http.forwarding import (
    HeaderNames,
    connection_options,
    environ_spelling,
    forwarded_afresh,
    forwarded_extended,
    is_field_name,
    is_field_value,
    is_reserved,
    request_host,
    request_target,
    via,
    went_through,
)
from gateway.http.proxy_errors import ProxyError, bad_request

#: Sets of identity headers differ by route at most; more of them are not remembered.
_REMEMBERED_PLANS = 64
_CONTENT_TYPE = "Content-Type: "
#: RFC 9110 §5.5, of a string that holds no line ends because they are added later.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of the header fields for one set of identity headers.

    ``names`` is the table for the client's own fields, ``omitted`` what of the gateway's own
    somebody else writes, ``identity`` the beginnings of the identity lines in their order.
    """

    names: HeaderNames
    omitted: frozenset[str]
    identity: tuple[str, ...]


class RequestHead:
    """Writes heads for one upstream.

    ``name`` stands for the gateway in Via, ``authority`` in Host where the client sent none.
    Raises ValueError for an additional header that cannot be added.
    """

    def __init__(self, settings: Upstream, server: Server, name: str, authority: str) -> None:
        for header, value in settings.headers.items():
            if is_reserved(header) or not (is_field_name(header) and is_field_value(value)):
                raise ValueError(f"the header {header!r} cannot be added to requests")
        self._name = name
        self._authority = authority
        self._added = "".join(f"{name}: {value}\r\n" for name, value in settings.headers.items())
        self._overridden = frozenset(environ_spelling(name) for name in settings.headers)
        self._plans: dict[tuple[bool, tuple[str, ...]], _Plan] = {}
        networks = server.trusted_proxies
        self._is_trusted = lru_cache(maxsize=4096)(lambda peer: peers.is_trusted(peer, networks))

    def write(self, environ: WSGIEnvironment, framing: str) -> bytes:
        """Give the head for ``environ``, with ``framing``, a header line or ''.

        Raises a :class:`ProxyError` for a request that cannot be forwarded.
        """
        identity: tuple[tuple[str, str], ...] = environ.get("gateway.identity_headers", ())
        peer = environ.get("REMOTE_ADDR", "")
        trusted = self._is_trusted(peer)
        plan = self._plan(trusted, tuple([name for name, _ in identity]))
        names = plan.names
        if named := connection_options(environ.get("HTTP_CONNECTION", "")):
            names = names.without(named)
        fields = [
            name + value
            for key, value in environ.items()
            if (name := names[key]) and (value or name != _CONTENT_TYPE)
        ]
        for beginning, (_, value) in zip(plan.identity, identity, strict=True):
            if beginning:
                fields.append(beginning + value)
        if "VIA" not in plan.omitted:
            fields.append(self._via(environ))
        text = "".join(fields)
        if not text.isprintable() and _CONTROL.search(text):
            raise bad_request("A header field holds control characters.")
        host = request_host(environ)
        scheme = environ["wsgi.url_scheme"]
        fields.append(
            forwarded_extended(environ, peer, scheme, host, plan.omitted)
            if trusted
            else forwarded_afresh(peer, scheme, host, plan.omitted)
        )
        host_line = "" if "HOST" in plan.omitted else f"Host: {host or self._authority}\r\n"
        lines = "\r\n".join(fields)
        head = (
            f"{environ['REQUEST_METHOD']} {request_target(environ)} HTTP/1.1\r\n"
            f"{host_line}{lines}{self._added}{framing}\r\n"
        )
        try:
            return head.encode("latin-1")
        except UnicodeEncodeError:
            raise bad_request("A header field holds more than bytes.") from None

    def _plan(self, trusted: bool, identity: tuple[str, ...]) -> _Plan:
        plan = self._plans.get((trusted, identity))
        if plan is None:
            omitted = self._overridden.union(map(environ_spelling, identity))
            plan = _Plan(
                HeaderNames(omitted, trusted=trusted),
                omitted,
                tuple(
                    "" if environ_spelling(name) in self._overridden else f"{name}: "
                    for name in identity
                ),
            )
            if len(self._plans) < _REMEMBERED_PLANS:
                self._plans[trusted, identity] = plan
        return plan

    def _via(self, environ: WSGIEnvironment) -> str:
        received = environ.get("HTTP_VIA", "")
        if received and went_through(received, self._name):
            raise ProxyError(
                HTTPStatus.LOOP_DETECTED, "The request came through this gateway before."
            )
        version = environ.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/")
        return "Via: " + via(received, version, self._name)
