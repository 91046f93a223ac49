"""The head of a request as the backend gets it: one pass over the environ, one string.

This is the hot path. The table of names gives the beginning of each line. The lines that the
gateway adds are written once, or remembered.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple
from wsgiref.types import WSGIEnvironment

from gateway.config.settings import Server, Upstream
from gateway.http.client_socket import FIELD_NAMES
from gateway.http.header_policy import (
    CONTROL_CHARACTER,
    FRAMING,
    RequestNames,
    connection_options,
    fold,
    is_field_name,
    is_field_value,
)
from gateway.http.peers import TrustedProxies
from gateway.http.proxy_errors import ProxyError, bad_request
from gateway.http.request_target import request_host, request_target
from gateway.proxy.forwarded_headers import (
    extended_forwarded_lines,
    new_forwarded_lines,
    via,
    went_through,
)

#: The sets of identity headers differ by route at most. More sets than these are not remembered.
_REMEMBERED_PLANS = 64
_CONTENT_TYPE = "Content-Type: "
_NO_NAMES: dict[str, str] = {}


class _Plan(NamedTuple):
    """What becomes of the header fields for one set of identity headers.

    ``names`` is the table for the client's own fields. ``omitted`` are the names that the gateway
    would write, and the operator or the identity writes. ``identity`` are the beginnings of the
    identity lines in their order.
    """

    names: RequestNames
    omitted: frozenset[str]
    identity: tuple[str, ...]


class RequestHead:
    """Writes heads for one upstream.

    ``name`` stands for the gateway in Via, ``authority`` in Host where the client sent none.
    Raises ValueError for an additional header that cannot be added.
    """

    def __init__(self, settings: Upstream, server: Server, name: str, authority: str) -> None:
        for header, value in settings.headers.items():
            _check_added(header, value)
        self._name = name
        self._authority = authority
        self._added = "".join(f"{name}: {value}\r\n" for name, value in settings.headers.items())
        self._overridden = frozenset(map(fold, settings.headers))
        self._plans: dict[tuple[bool, tuple[str, ...]], _Plan] = {}
        self._proxies = TrustedProxies(server.trusted_proxies)

    def write(self, environ: WSGIEnvironment, framing: str) -> bytes:
        """Return the head for ``environ``, with ``framing``, a header line or ''.

        Raises a :class:`ProxyError` for a request that cannot be forwarded.
        """
        identity: tuple[tuple[str, str], ...] = environ.get("gateway.identity_headers", ())
        peer, scheme = environ.get("REMOTE_ADDR", ""), environ["wsgi.url_scheme"]
        trusted = self._proxies.trusts(peer)
        plan = self._plan(trusted, tuple([name for name, _ in identity]))
        fields = self._fields(environ, plan, identity)
        host = request_host(environ)
        fields.append(
            extended_forwarded_lines(environ, peer, scheme, host, plan.omitted)
            if trusted
            else new_forwarded_lines(peer, scheme, host, plan.omitted)
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

    def _fields(
        self, environ: WSGIEnvironment, plan: _Plan, identity: tuple[tuple[str, str], ...]
    ) -> list[str]:
        """Return the client's own fields, the identity and Via, without control characters."""
        names = plan.names
        if named := connection_options(environ.get("HTTP_CONNECTION", "")):
            names = names.without(named)
        # The server may tell how the client wrote a name. A few backends care.
        written: dict[str, str] = environ.get(FIELD_NAMES, _NO_NAMES)
        fields = [
            f"{written[key]}: {value}" if key in written else name + value
            for key, value in environ.items()
            if (name := names[key]) and (value or name != _CONTENT_TYPE)
        ]
        for beginning, (_, value) in zip(plan.identity, identity, strict=True):
            if beginning:
                fields.append(beginning + value)
        if "VIA" not in plan.omitted:
            fields.append(self._via(environ))
        text = "".join(fields)
        if not text.isprintable() and CONTROL_CHARACTER.search(text):
            raise bad_request("A header field holds control characters.")
        return fields

    def _plan(self, trusted: bool, identity: tuple[str, ...]) -> _Plan:
        plan = self._plans.get((trusted, identity))
        if plan is None:
            plan = self._new_plan(trusted, identity)
            if len(self._plans) < _REMEMBERED_PLANS:
                self._plans[trusted, identity] = plan
        return plan

    def _new_plan(self, trusted: bool, identity: tuple[str, ...]) -> _Plan:
        omitted = self._overridden.union(map(fold, identity))
        beginnings = tuple(
            "" if fold(name) in self._overridden else f"{name}: " for name in identity
        )
        return _Plan(RequestNames(omitted, trusted=trusted), omitted, beginnings)

    def _via(self, environ: WSGIEnvironment) -> str:
        received = environ.get("HTTP_VIA", "")
        if received and went_through(received, self._name):
            raise ProxyError(
                HTTPStatus.LOOP_DETECTED, "The request came through this gateway before."
            )
        version = environ.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/")
        return "Via: " + via(received, version, self._name)


def _check_added(name: str, value: str) -> None:
    if fold(name) in FRAMING or not (is_field_name(name) and is_field_value(value)):
        raise ValueError(f"the header {name!r} cannot be added to requests")
