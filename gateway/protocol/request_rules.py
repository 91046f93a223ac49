"""The strict check of what is sent to the gateway's own endpoints.

Nothing else in the gateway reads a query or a form of an OAuth request. Each rule is a function,
with its source; :data:`RULES` says in which order they run, and where. What a value may look like
is in :mod:`gateway.protocol.parameters`, and what an authorization request must be beyond that in
:mod:`gateway.grants.authorization`. ``tests/protocol/test_request_rules.py`` breaks each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from urllib.parse import parse_qsl

from gateway.protocol.errors import OAuthError, invalid_request
from gateway.protocol.parameters import (
    AUTHORIZE,
    CONSENT,
    INTROSPECT,
    REVOKE,
    TOKEN,
    Grammar,
    Parameters,
)

FORM = "application/x-www-form-urlencoded"

_MOST_FIELDS = 64

# More digits than any form has, and few enough to be a number on every Python.
_LENGTH = re.compile(r"[0-9]{1,18}")

Pairs = Sequence[tuple[str, str]]


class At(Flag):
    """Where something is sent."""

    #: The query with which a browser comes to the authorization endpoint.
    AUTHORIZE = auto()
    #: The form that it posts there.
    CONSENT = auto()
    TOKEN = auto()
    REVOKE = auto()
    INTROSPECT = auto()
    #: A query, or a form, of the pages for people.
    PAGE = auto()
    PAGE_FORM = auto()

    FROM_CLIENTS = TOKEN | REVOKE | INTROSPECT
    FORMS = CONSENT | FROM_CLIENTS | PAGE_FORM
    OF_THE_PROTOCOL = AUTHORIZE | CONSENT | FROM_CLIENTS
    EVERYWHERE = OF_THE_PROTOCOL | PAGE | PAGE_FORM


#: The parameters that are recognised; any other name is ignored (RFC 6749 §3.1, §3.2).
RECOGNISED: Mapping[At, Mapping[str, Grammar]] = {
    At.AUTHORIZE: AUTHORIZE,
    At.CONSENT: CONSENT,
    At.TOKEN: TOKEN,
    At.REVOKE: REVOKE,
    At.INTROSPECT: INTROSPECT,
}


class TooLarge(OAuthError):  # noqa: N818 - HTTP's 413
    """The form is larger than ``limits.form_bytes``."""


@dataclass(frozen=True, slots=True)
class Form:
    """The body of a request, before it is read.

    ``announced`` is its Content-Length as it was sent, ``limit`` is in bytes, and ``read``
    returns so many bytes, fewer at the end, and raises OSError or ValueError.
    """

    content_type: str = ""
    announced: str | None = None
    limit: int = 0
    read: Callable[[int], bytes] = lambda most: b""


@dataclass(slots=True)
class Sent:
    """What was sent, and what the rules have read of it so far.

    ``encoded`` has one byte a character (latin-1), as WSGI gives it.
    """

    at: At
    query: str = ""
    form: Form = field(default_factory=Form)
    encoded: str = ""
    text: str = ""
    pairs: Pairs = ()
    parameters: Parameters = field(default_factory=dict)

    @property
    def recognised(self) -> Mapping[str, Grammar]:
        """The parameters that there are here."""
        return RECOGNISED[self.at]


Rule = Callable[[Sent], None]


def nothing_in_the_query(sent: Sent) -> None:
    """RFC 6749 §3.2, §2.3.1: a client's parameters come in the body; none may be in the URI."""
    if any(name in sent.recognised for name, _ in _pairs(_text(sent.query))):
        raise invalid_request("Parameters belong in the body.", why="parameters_in_query")


def form_content_type(sent: Sent) -> None:
    """RFC 6749 appendix B: a form, and nothing else."""
    if sent.form.content_type.partition(";")[0].strip().lower() != FORM:
        raise invalid_request(f"The Content-Type must be {FORM}.", why="content_type")


def announced_in_digits(sent: Sent) -> None:
    """RFC 9110 §8.6: a length is digits."""
    if sent.form.announced is not None and not _LENGTH.fullmatch(sent.form.announced):
        raise invalid_request("The Content-Length is malformed.", why="content_length")


def announced_within_the_limit(sent: Sent) -> None:
    """RFC 9110 §15.5.14: what is too large need not be read."""
    if sent.form.announced is not None and int(sent.form.announced) > sent.form.limit:
        raise _too_large()


def whole_body_within_the_limit(sent: Sent) -> None:
    """RFC 9112 §8: a body that breaks off is none. One without a length is counted."""
    announced = sent.form.announced
    length = sent.form.limit + 1 if announced is None else int(announced)
    try:
        body = sent.form.read(length)
    except (OSError, ValueError):
        raise invalid_request("The body cannot be read.", why="broken_body") from None
    if len(body) > sent.form.limit:
        raise _too_large()
    if announced is not None and len(body) < length:
        raise invalid_request("The body is shorter than announced.", why="short_body")
    sent.encoded = body.decode("latin-1")


def utf8(sent: Sent) -> None:
    """RFC 6749 appendix B: UTF-8, where it is not escaped as well."""
    sent.text = _text(sent.encoded)


def few_fields(sent: Sent) -> None:
    """RFC 6749 appendix B, UTF-8 where it is escaped; and no request needs more than 64 fields."""
    sent.pairs = _pairs(sent.text)


def nothing_repeated(sent: Sent) -> None:
    """RFC 6749 §3.1, §3.2: no recognised parameter twice; one without a value is omitted.

    ``resource`` may be there more than once (RFC 8707 §2), which is none of those recognised.
    """
    seen: dict[str, str] = {}
    for name, value in sent.pairs:
        if name not in sent.recognised:
            continue
        if name in seen:
            raise invalid_request(
                f"The parameter {name} was sent more than once.", why=f"repeated_{name}"
            )
        seen[name] = value
    sent.parameters = {name: value for name, value in seen.items() if value}


def well_formed(sent: Sent) -> None:
    """RFC 6749 appendix A: each value keeps its grammar; ``invalid_scope`` for a scope (§5.2)."""
    for name, value in sent.parameters.items():
        fault = sent.recognised[name](value)
        if fault is not None:
            error = "invalid_scope" if name == "scope" else "invalid_request"
            raise OAuthError(error, f"The parameter {name} {fault}.", why=f"malformed_{name}")


#: Every rule, in the order in which they run, and where it does.
RULES: tuple[tuple[Rule, At], ...] = (
    (nothing_in_the_query, At.FROM_CLIENTS),
    (form_content_type, At.FORMS),
    (announced_in_digits, At.FORMS),
    (announced_within_the_limit, At.FORMS),
    (whole_body_within_the_limit, At.FORMS),
    (utf8, At.EVERYWHERE),
    (few_fields, At.EVERYWHERE),
    (nothing_repeated, At.OF_THE_PROTOCOL),
    (well_formed, At.OF_THE_PROTOCOL),
)

# Those up to this one read what was sent; the others judge it.
_READ = [rule for rule, _ in RULES].index(few_fields) + 1


def read(sent: Sent) -> Pairs:
    """Return the names and values that were sent. Raises OAuthError ``invalid_request``."""
    _run(RULES[:_READ], sent)
    return sent.pairs


def checked(sent: Sent) -> Parameters:
    """Return the recognised parameters that have a value.

    Raises OAuthError ``invalid_request``, and ``invalid_scope`` for a malformed scope.
    """
    _run(RULES, sent)
    return sent.parameters


def judged(pairs: Pairs, at: At) -> Parameters:
    """Return the recognised parameters among ``pairs``; raises as :func:`checked` does."""
    sent = Sent(at, pairs=pairs)
    _run(RULES[_READ:], sent)
    return sent.parameters


def _run(rules: Sequence[tuple[Rule, At]], sent: Sent) -> None:
    for rule, where in rules:
        if sent.at in where:
            rule(sent)


def _text(encoded: str) -> str:
    try:
        # The bytes again, so that raw non-ASCII is decoded as UTF-8 like the escaped kind.
        return encoded.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise _not_utf8() from None


def _pairs(text: str) -> Pairs:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except UnicodeError:
        raise _not_utf8() from None
    except ValueError:
        raise invalid_request("Too many parameters.", why="too_many_parameters") from None


def _not_utf8() -> OAuthError:
    return invalid_request("The parameters are not UTF-8.", why="parameters_not_utf8")


def _too_large() -> OAuthError:
    return TooLarge("invalid_request", "The request is too large.", why="too_large")
