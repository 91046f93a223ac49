"""No bytes on a connection make a second request of a body; a small run of the fuzzer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.campaign import cases, run
from tests.fuzz.live.fuzzer import fuzzer
from tests.fuzz.live.judge import (
    Told,
    complaint_about_answers,
    complaint_about_backend,
    echo_of,
    is_public,
    read_as_sent,
)
from tests.fuzz.live.stand import Stand, live_stand, recording_backend
from tests.proxy.wire import Answer, Request

CASES = 300
GET = Told("GET", "/public/a")
PROTECTED = Told("GET", "/private/a")
HEAD = b"GET /public/a HTTP/1.1\r\nHost: h\r\n\r\n"


def test_no_connection_smuggles_anything_past_the_gateway(tmp_path: Path) -> None:
    with live_stand(tmp_path) as stand:
        outcome = run(fuzzer(stand), seed=1, count=CASES)
    assert [str(failure) for failure in outcome.failures] == []
    assert outcome.tally["answers with 200"] >= CASES / 10
    assert outcome.tally["answers with 401"] >= CASES / 20
    assert outcome.tally["canaries on the same connection"] >= CASES / 20


def test_a_backend_without_a_gateway_is_found_out() -> None:
    """It reads laxly and lets everybody in."""
    with recording_backend() as backend:
        lax = fuzzer(Stand(backend.port, backend, b"a-token", patience=0.5))
        complaints = [lax.check(case, Counter()) for case in cases(lax, seed=1, count=40)]
    kinds = {each.kind for each in complaints if each is not None}
    assert "the backend saw a request that nobody sent" in kinds
    assert "the backend saw a protected path without a token" in kinds


def reached(line: bytes, *lines: bytes, body: bytes = b"") -> Request:
    head = b"\r\n".join((line + b" HTTP/1.1", *(lines or (b"Host: h",)), b"", b""))
    return Request(head, body, body)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (reached(b"GET /public/a"), None),
        (reached(b"GET /public/b"), "the backend saw a request that nobody sent"),
        (reached(b"GET /public/a", body=b"x"), "the backend saw a request that nobody sent"),
        (reached(b"GET /private/a"), "the backend saw a protected path without a token"),
        (
            reached(b"GET /public/a", b"Host: h", b"Content-Length: 1", b"Content-Length: 1"),
            "the backend got two framings",
        ),
        (
            reached(b"GET /public/a", b"Host: h", b" folded"),
            "the backend got a line that is no field",
        ),
        (reached(b"GET /public/a", b"X-A: b"), "the backend got no Host, or two of them"),
        (
            reached(b"GET /public/a", b"Host: h", b"Authorization: Basic x"),
            "the backend got the client's credentials",
        ),
    ],
)
def test_what_reaches_the_backend_is_judged(request_: Request, kind: str | None) -> None:
    complaint = complaint_about_backend([request_], {GET, PROTECTED}, set())
    assert (complaint and complaint.kind) == kind


def test_a_token_opens_a_protected_path() -> None:
    assert complaint_about_backend([reached(b"GET /private/a")], {PROTECTED}, {PROTECTED}) is None


def answer(status: int, body: bytes) -> Answer:
    return Answer(b"HTTP/1.1 %d x\r\n\r\n" % status, body, complete=True)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([answer(200, echo_of(GET))], None),
        ([answer(400, b"x")], None),
        ([answer(502, b"x")], "an answer with 502"),
        ([answer(200, echo_of(PROTECTED))], "an answer of another request"),
        ([answer(200, echo_of(GET)), answer(401, b"x")], "the canary got another answer"),
        ([answer(401, b"x"), answer(200, echo_of(GET))], "the canary got another answer"),
        ([answer(200, echo_of(GET))] * 3, "more answers than requests"),
    ],
)
def test_each_answer_must_be_that_of_its_request(answers: list[Answer], kind: str | None) -> None:
    complaint = complaint_about_answers(answers, [GET], Told("GET", "/public/canary"))
    assert (complaint and complaint.kind) == kind


def test_a_request_in_a_body_was_not_sent() -> None:
    hidden = b"GET /public/hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    head = b"POST /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\nContent-Length: "
    sent = read_as_sent(head + b"%d\r\n\r\n" % len(hidden) + hidden + HEAD, b"t")
    post = Told("POST", "/public/a", hidden)
    assert sent.requests == (post, GET)
    assert sent.with_token == {post}
    assert sent.goes_on


@pytest.mark.parametrize(
    "data", [HEAD[:-1], HEAD.replace(b"Host", b"Connection: close\r\nHost"), HEAD + b"GET"]
)
def test_nothing_follows_where_bytes_are_left_over_or_the_connection_ends(data: bytes) -> None:
    assert not read_as_sent(data, b"t").goes_on


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/public/a?x=/private", True),
        ("/public/%2e%2e/private", False),
        ("/public/%252e%252e/private", False),
        ("/public/a;/../../private", False),
        ("/public\\..\\private", False),
        ("/publicity", False),
        ("/private/a", False),
    ],
)
def test_a_path_is_public_however_it_is_read(target: str, expected: bool) -> None:
    assert is_public(target) is expected
