"""Where h11 may differ from us: each difference that is allowed stands here with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.fuzz.heads.readers import Fields, Reading, Refusal


def difference(own: Reading | Refusal, other: Reading | Refusal) -> str | None:
    """Name what h11 reads differently, or None.

    Where we refuse, the connection ends, so whatever h11 reads is no danger. Where we wait for
    more bytes and h11 has a whole request, the next one would become a part of this one.
    """
    if isinstance(own, Refusal):
        waits = own.incomplete and isinstance(other, Reading)
        return "we wait for more of a request that is whole" if waits else None
    if isinstance(other, Refusal):
        return "it waits for more of a request that is whole for us"
    for name in ("method", "target", "version", "framing", "body", "rest"):
        if getattr(own, name) != getattr(other, name):
            return name
    if _comparable(own.fields) != _comparable(other.fields):
        return "fields"
    return "trailers" if _comparable(own.trailers) != _comparable(other.trailers) else None


def _comparable(fields: Fields) -> Fields:
    """Leave out what is no difference.

    We drop names with "_", which WSGI cannot tell from those with "-". h11 writes the value of
    Transfer-Encoding in lower case.
    """
    return tuple(
        (name, value.lower() if name == "TRANSFER-ENCODING" else value)
        for name, value in fields
        if "_" not in name
    )


#: Why h11 may refuse what we accept: the words it refuses with, what must be so in the request as
#: we read it, and the reason for which nobody can profit.
ALLOWED: tuple[tuple[str, Callable[[Reading], bool], str], ...] = (
    (
        r"Only Transfer-Encoding: chunked is supported|multiple Transfer-Encoding headers",
        lambda own: own.framing == "chunked" and _value(own, "TRANSFER-ENCODING") != "chunked",
        "codings inside the chunks: the proxy answers 501, and never forwards such a body",
    ),
    (
        r"bad Content-Length",
        lambda own: len(_value(own, "CONTENT-LENGTH")) > _H11_DIGITS,
        "a length with leading zeros: it is the same number, and the proxy takes 19 digits",
    ),
    (
        r"illegal chunk header: bytearray\(b'0+[0-9A-Fa-f]{20,}",
        lambda own: own.framing == "chunked",
        "a chunk size with leading zeros: it is the same number, and the proxy writes its own",
    ),
    (
        r"illegal chunk header: bytearray\(b'[0-9A-Fa-f]{1,20}(?: |\\\\t)+;",
        lambda own: own.framing == "chunked",
        "space before a chunk extension: RFC 9112 section 7.1.1 has it, and the size is the same",
    ),
)
_H11_DIGITS = 20


def why_h11_may_refuse(own: Reading, refusal: Refusal) -> str:
    """Give the reason for which h11 may refuse what we accept; '' if there is none."""
    for words, so, reason in ALLOWED:
        if re.match(words, refusal.why) and so(own):
            return reason
    return ""


def _value(own: Reading, name: str) -> str:
    """Return the values of a field as one."""
    return ", ".join(value for key, value in own.fields if key == name).lower()
