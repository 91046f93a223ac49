"""What must hold after a connection, judged by what was sent, what arrived and what was answered.

The right reading of what was sent is h11's, so no part of the gateway judges itself. Whatever
reaches the backend must be a request of that reading, whole and with its own body. A request
without a token must be for a public path.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tests.fuzz.campaign import Complaint
from tests.fuzz.heads.readers import Reading, Refusal, h11s
from tests.proxy.wire import Answer, Request

_MOST_REQUESTS = 8
#: No request, however odd, may end like this while the backend is well.
_FAULTS_OF_OURS = frozenset({500, 502, 503, 504})
_FIELD_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*")
_ABSOLUTE_FORM = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^/?]*(.*)", re.DOTALL)


class Told(NamedTuple):
    """A request in a few words: as it was sent, or as it reached the backend."""

    method: str
    target: str
    body: bytes = b""


@dataclass(frozen=True)
class Sent:
    """What a connection sent, as h11 reads it.

    ``requests`` are the whole ones in their order, ``with_token`` those that carry a token.
    ``goes_on`` tells that nothing is left over, so that another request may follow.
    """

    requests: tuple[Told, ...] = ()
    with_token: frozenset[Told] = field(default_factory=frozenset)
    goes_on: bool = True


def read_as_sent(data: bytes, token: bytes) -> Sent:
    """Read all that a connection sent."""
    requests: list[Told] = []
    with_token: set[Told] = set()
    while data and len(requests) < _MOST_REQUESTS:
        reading = h11s(data)
        if isinstance(reading, Refusal):
            return Sent(tuple(requests), frozenset(with_token), goes_on=False)
        told = Told(reading.method, _origin_form(reading.target), reading.body)
        requests.append(told)
        if _carries(reading, token):
            with_token.add(told)
        data = data[len(data) - reading.rest :]
        if _ends_connection(reading):
            return Sent(tuple(requests), frozenset(with_token), goes_on=False)
    return Sent(tuple(requests), frozenset(with_token), goes_on=not data)


def _carries(reading: Reading, token: bytes) -> bool:
    values = [value for name, value in reading.fields if name == "AUTHORIZATION"]
    return any(token.decode() in value for value in values)


def _origin_form(target: str) -> str:
    """RFC 9112 §3.2.2: a proxy takes the scheme and the host off."""
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        return target
    return match[1] if match[1].startswith("/") else "/" + match[1]


def _ends_connection(reading: Reading) -> bool:
    options = ",".join(value.lower() for name, value in reading.fields if name == "CONNECTION")
    stays = "keep-alive" in options if reading.version == "1.0" else "close" not in options
    return reading.method == "CONNECT" or not stays


def told_by(request: Request) -> Told:
    """Return what a request says that reached the backend."""
    method, _, rest = request.line.partition(b" ")
    target = rest.partition(b" ")[0]
    return Told(method.decode("latin-1"), target.decode("latin-1"), request.meaning)


def complaint_about_backend(
    reached: Sequence[Request], sent: AbstractSet[Told], with_token: AbstractSet[Told]
) -> Complaint | None:
    """Judge what reached the backend against all that was ever sent as a request."""
    for request in reached:
        told = told_by(request)
        if told not in sent:
            return Complaint("the backend saw a request that nobody sent", repr(request))
        if not is_public(told.target) and told not in with_token:
            return Complaint("the backend saw a protected path without a token", repr(request))
        if fault := _fault_of_head(request):
            return Complaint(f"the backend got {fault}", repr(request))
    return None


def is_public(target: str) -> bool:
    """Tell whether a path is public however often a backend decodes and tidies it."""
    path = target.partition("?")[0].encode("latin-1")
    for _ in range(4):
        path = unquote_to_bytes(path).replace(b"\\", b"/")
    ways = (path, re.sub(rb";[^/]*", b"", path))
    return all(posixpath.normpath(way).startswith(b"/public/") for way in ways)


def _fault_of_head(request: Request) -> str | None:
    """Name what a backend should never get: RFC 9112 §3.2, §5 and §6.3, and credentials."""
    lines = request.head.split(b"\r\n")[1:-2]
    names = [line.partition(b":")[0].lower() for line in lines]
    if not all(_FIELD_LINE.fullmatch(line) for line in lines):
        return "a line that is no field"
    if names.count(b"content-length") + names.count(b"transfer-encoding") > 1:
        return "two framings"
    if b"authorization" in names:
        return "the client's credentials"
    return None if names.count(b"host") == 1 else "no Host, or two of them"


def complaint_about_answers(
    answers: Sequence[Answer], requests: Sequence[Told], canary: Told | None = None
) -> Complaint | None:
    """Judge the answers on a connection: a 200 is the backend's to the request in its place.

    ``canary`` came behind the other ``requests``, and must be answered with 200.
    """
    if len(answers) > len(requests) + 1:
        return Complaint("more answers than requests", repr(answers))
    for answer in answers:
        if answer.status in _FAULTS_OF_OURS:
            return Complaint(f"an answer with {answer.status}", repr(answer))
    for answer, told in zip(answers, requests, strict=False):
        if answer.status == 200 and not _is_of(answer, told):
            return Complaint("an answer of another request", f"{answer!r}, and not of {told!r}")
    if canary is not None and len(answers) > len(requests):
        answer = answers[-1]
        if answer.status != 200 or not _is_of(answer, canary):
            return Complaint("the canary got another answer", f"{answer!r}, and not of {canary!r}")
    return None


def _is_of(answer: Answer, told: Told) -> bool:
    return answer.complete and answer.body in {
        echo_of(told),
        b"" if told.method == "HEAD" else None,
    }


def echo_of(told: Told) -> bytes:
    """Return the body with which the recording backend answers a request."""
    return f"{told.method} {told.target} {len(told.body)}".encode("latin-1")
