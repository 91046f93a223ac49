"""The strict check of a request to the gateway's own endpoints.

Nothing else in the gateway reads a query or a form of an OAuth request; oauthlib sees only the
parameters that pass. Each rule is a function, with its source. :data:`RULES` says in which order
the rules run, and where. :mod:`gateway.protocol.parameters` says what a value may look like, and
:mod:`gateway.grants.authorization` what an authorization request must be beyond that.
``tests/protocol/test_request_rules.py`` breaks each rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Flag, auto
from urllib.parse import parse_qsl

from oauthlib.oauth2 import InvalidRequestError, InvalidScopeError

from gateway.protocol.errors import OAuthError, invalid_request, too_large
from gateway.protocol.parameters import (
    AUTHORIZE,
    CONSENT,
    INTROSPECT,
    REVOKE,
    TOKEN,
    Grammar,
    Parameters,
)
from gateway.protocol.reasons import Why

FORM = "application/x-www-form-urlencoded"

_MOST_FIELDS = 64

# More digits than any form has, and few enough to be a number on every Python.
_LENGTH = re.compile(r"[0-9]{1,18}")

Pairs = Sequence[tuple[str, str]]


class FormKind(Flag):
    """Which query or form a request has: each endpoint has its own."""

    #: The query of a browser that comes to the authorization endpoint.
    AUTHORIZE = auto()
    #: The form that the browser posts there.
    CONSENT = auto()
    TOKEN = auto()
    REVOKE = auto()
    INTROSPECT = auto()
    #: The query of a page for people, and the form of one.
    PAGE = auto()
    PAGE_FORM = auto()

    FROM_CLIENTS = TOKEN | REVOKE | INTROSPECT
    FORMS = CONSENT | FROM_CLIENTS | PAGE_FORM
    OF_THE_PROTOCOL = AUTHORIZE | CONSENT | FROM_CLIENTS
    EVERYWHERE = OF_THE_PROTOCOL | PAGE | PAGE_FORM


#: The parameters that are recognised; any other name is ignored (RFC 6749 §3.1, §3.2).
RECOGNISED: Mapping[FormKind, Mapping[str, Grammar]] = {
    FormKind.AUTHORIZE: AUTHORIZE,
    FormKind.CONSENT: CONSENT,
    FormKind.TOKEN: TOKEN,
    FormKind.REVOKE: REVOKE,
    FormKind.INTROSPECT: INTROSPECT,
}


@dataclass(frozen=True, slots=True)
class Form:
    """The body of a request, before it is read.

    ``announced`` is its Content-Length as the client sent it. ``limit`` is in bytes. ``read(n)``
    returns ``n`` bytes, fewer at the end of the body; it raises OSError or ValueError.
    """

    content_type: str = ""
    announced: str | None = None
    limit: int = 0
    read: Callable[[int], bytes] = lambda most: b""


@dataclass(slots=True)
class Submission:
    """A query or form as it was sent, and as far as the rules have read it.

    ``encoded`` has one byte a character (latin-1), as WSGI gives it. ``text`` is the same as
    UTF-8, ``pairs`` its names and values, ``parameters`` the recognised ones that have a value.
    """

    at: FormKind
    query: str = ""
    form: Form = field(default_factory=Form)
    encoded: str = ""
    text: str = ""
    pairs: Pairs = ()
    parameters: Parameters = field(default_factory=dict)

    @property
    def recognised(self) -> Mapping[str, Grammar]:
        """The parameters of this kind of form, with the grammar of each."""
        return RECOGNISED[self.at]


Rule = Callable[[Submission], None]


def nothing_in_the_query(submission: Submission) -> None:
    """RFC 6749 §3.2, §2.3.1: a client's parameters come in the body; none may be in the URI."""
    if any(name in submission.recognised for name, _ in _pairs(_text(submission.query))):
        raise invalid_request("Parameters belong in the body.", Why.PARAMETERS_IN_QUERY)


def form_content_type(submission: Submission) -> None:
    """RFC 6749 appendix B: a form, and nothing else."""
    if submission.form.content_type.partition(";")[0].strip().lower() != FORM:
        raise invalid_request(f"The Content-Type must be {FORM}.", Why.CONTENT_TYPE)


def announced_in_digits(submission: Submission) -> None:
    """RFC 9110 §8.6: a length is digits."""
    if submission.form.announced is not None and not _LENGTH.fullmatch(submission.form.announced):
        raise invalid_request("The Content-Length is malformed.", Why.CONTENT_LENGTH)


def announced_within_the_limit(submission: Submission) -> None:
    """RFC 9110 §15.5.14: a body that is announced as too large need not be read."""
    if (
        submission.form.announced is not None
        and int(submission.form.announced) > submission.form.limit
    ):
        raise too_large()


def whole_body_within_the_limit(submission: Submission) -> None:
    """RFC 9112 §8: a body that breaks off is refused. A body without a length is counted."""
    announced = submission.form.announced
    length = submission.form.limit + 1 if announced is None else int(announced)
    try:
        body = submission.form.read(length)
    except (OSError, ValueError):
        raise invalid_request("The body cannot be read.", Why.BROKEN_BODY) from None
    if len(body) > submission.form.limit:
        raise too_large()
    if announced is not None and len(body) < length:
        raise invalid_request("The body is shorter than announced.", Why.SHORT_BODY)
    submission.encoded = body.decode("latin-1")


def utf8(submission: Submission) -> None:
    """RFC 6749 appendix B: raw characters are UTF-8, as escaped ones are."""
    submission.text = _text(submission.encoded)


def few_fields(submission: Submission) -> None:
    """RFC 6749 appendix B: escaped characters are UTF-8. No request needs more than 64 fields."""
    submission.pairs = _pairs(submission.text)


def no_empty_code_challenge(submission: Submission) -> None:
    """RFC 9700 §2.1.1: a client that sends a challenge means to be protected by it.

    RFC 6749 §3.1 would count an empty challenge as omitted; that is a downgrade.
    """
    if ("code_challenge", "") in submission.pairs:
        raise invalid_request("The code_challenge is empty.", Why.EMPTY_CODE_CHALLENGE)


def nothing_repeated(submission: Submission) -> None:
    """RFC 6749 §3.1, §3.2: no recognised parameter twice; one without a value is omitted.

    RFC 8707 §2 lets ``resource`` come more than once. It is not recognised, so it is ignored.
    """
    seen: dict[str, str] = {}
    for name, value in submission.pairs:
        if name not in submission.recognised:
            continue
        if name in seen:
            raise invalid_request(
                f"The parameter {name} was sent more than once.", Why.REPEATED, name
            )
        seen[name] = value
    submission.parameters = {name: value for name, value in seen.items() if value}


def well_formed(submission: Submission) -> None:
    """RFC 6749 appendix A: each value keeps its grammar; ``invalid_scope`` for a scope (§5.2)."""
    for name, value in submission.parameters.items():
        fault = submission.recognised[name](value)
        if fault is not None:
            error = InvalidScopeError if name == "scope" else InvalidRequestError
            raise OAuthError(error(f"The parameter {name} {fault}."), Why.MALFORMED, name)


#: Every rule, in the order in which they run, and the kinds of form that it is for.
RULES: tuple[tuple[Rule, FormKind], ...] = (
    (nothing_in_the_query, FormKind.FROM_CLIENTS),
    (form_content_type, FormKind.FORMS),
    (announced_in_digits, FormKind.FORMS),
    (announced_within_the_limit, FormKind.FORMS),
    (whole_body_within_the_limit, FormKind.FORMS),
    (utf8, FormKind.EVERYWHERE),
    (few_fields, FormKind.EVERYWHERE),
    (no_empty_code_challenge, FormKind.AUTHORIZE),
    (nothing_repeated, FormKind.OF_THE_PROTOCOL),
    (well_formed, FormKind.OF_THE_PROTOCOL),
)

# The rules up to few_fields read the submission; the others judge it.
_READ = [rule for rule, _ in RULES].index(few_fields) + 1


def query_pairs(submission: Submission) -> Pairs:
    """Return the names and values of the query alone. Raises OAuthError ``invalid_request``."""
    return _pairs(_text(submission.query))


def read_text(submission: Submission) -> str:
    """Return a body as text, within its limits. Raises OAuthError ``invalid_request``."""
    _run(RULES[: _READ - 1], submission)
    return submission.text


def parse(submission: Submission) -> Pairs:
    """Return the names and values of a submission. Raises OAuthError ``invalid_request``."""
    _run(RULES[:_READ], submission)
    return submission.pairs


def validate_submission(submission: Submission) -> Parameters:
    """Return the recognised parameters that have a value.

    Raises OAuthError ``invalid_request``, and ``invalid_scope`` for a malformed scope.
    """
    _run(RULES, submission)
    return submission.parameters


def validate_pairs(pairs: Pairs, at: FormKind) -> Parameters:
    """Return the recognised parameters among ``pairs``; raise as :func:`validate_submission`."""
    submission = Submission(at, pairs=pairs)
    _run(RULES[_READ:], submission)
    return submission.parameters


def _run(rules: Sequence[tuple[Rule, FormKind]], submission: Submission) -> None:
    for rule, where in rules:
        if submission.at in where:
            rule(submission)


def _text(encoded: str) -> str:
    try:
        # Back to bytes, so that raw non-ASCII is decoded as UTF-8 like the escaped kind.
        return encoded.encode("latin-1").decode("utf-8")
    except UnicodeError:
        raise _not_utf8() from None


def _pairs(text: str) -> Pairs:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except UnicodeError:
        raise _not_utf8() from None
    except ValueError:
        raise invalid_request("Too many parameters.", Why.TOO_MANY_PARAMETERS) from None


def _not_utf8() -> OAuthError:
    return invalid_request("The parameters are not UTF-8.", Why.PARAMETERS_NOT_UTF8)
