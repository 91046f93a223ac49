"""An answer that comes whole is read in one step, and exactly as llhttp reads it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.answer import Answer, BadAnswerError


class Parsed(Answer):
    """An answer that is always read by the parser."""

    def _is_ordinary(self, data: bytes) -> bool:
        return False


def read(answer: Answer, data: bytes) -> Any:
    """Return all that is known of an answer, or that it is none."""
    try:
        answer.feed(data)
    except BadAnswerError:
        return BadAnswerError
    names = ("status", "reason", "version", "headers", "fed", "remaining", "chunked")
    states = ("head_complete", "complete", "persistent")
    known = {name: getattr(answer, name) for name in (*names, *states)}
    return known | {"body": answer.take_body()}


def is_ordinary(data: bytes) -> bool:
    return Answer()._is_ordinary(data)


SMALL = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.2\r\nDate: Wed, 25 Nov 2026 05:00:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 2\r\nConnection: keep-alive\r\n"
    b"Set-Cookie: a=b; Path=/\r\nset-cookie:c=d\r\nX-Latin: caf\xe9\r\nX-Empty:\r\n\r\nok"
)


def test_a_small_answer_is_ordinary() -> None:
    assert is_ordinary(SMALL)
    assert read(Answer(), SMALL) == read(Parsed(), SMALL)


def line_with(line: bytes) -> bytes:
    return SMALL.replace(b"X-Empty:", line)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(SMALL[:-1], id="less than its length"),
        pytest.param(SMALL + b"!", id="more than its length"),
        pytest.param(SMALL + SMALL, id="two answers"),
        pytest.param(SMALL.replace(b"200 OK", b"204 OK"), id="204 with a body"),
        pytest.param(SMALL.replace(b"200 OK", b"304 OK"), id="304 with a body"),
        pytest.param(SMALL.replace(b"200 OK", b"100 OK"), id="an interim answer"),
        pytest.param(SMALL.replace(b"200 OK", b"600 OK"), id="a status beyond 599"),
        pytest.param(SMALL.replace(b"200 OK", b"200 "), id="no reason"),
        pytest.param(SMALL.replace(b"200 OK", b"200"), id="no reason and no space"),
        pytest.param(SMALL.replace(b"200 OK", b"200  OK"), id="two spaces"),
        pytest.param(SMALL.replace(b"200 OK", b"200 O\x00K"), id="NUL in the reason"),
        pytest.param(SMALL.replace(b"1.1", b"1.0"), id="HTTP/1.0"),
        pytest.param(SMALL.replace(b"1.1", b"2.0"), id="HTTP/2.0"),
        pytest.param(SMALL.replace(b"\r\n", b"\n"), id="bare LFs"),
        pytest.param(SMALL.replace(b"Content-Length: 2\r\n", b""), id="no length"),
        pytest.param(SMALL.replace(b"Length: 2", b"Length: 02"), id="a zero before the length"),
        pytest.param(SMALL.replace(b"Length: 2", b"Length: +2"), id="a signed length"),
        pytest.param(SMALL.replace(b"Length: 2", b"Length: 2 "), id="a space behind the length"),
        pytest.param(SMALL.replace(b"Length: 2", b"Length: \t2"), id="a tab before the length"),
        pytest.param(SMALL.replace(b"keep-alive", b"close"), id="a connection that ends"),
        pytest.param(SMALL.replace(b"keep-alive", b"Keep-Alive, X-Latin"), id="a field that ends"),
        pytest.param(line_with(b"Content-Length: 2"), id="two lengths"),
        pytest.param(line_with(b"Transfer-Encoding: chunked"), id="two framings"),
        pytest.param(line_with(b"Connection: close"), id="two connections"),
        pytest.param(line_with(b"Keep-Alive: timeout=5"), id="a field of the connection"),
        pytest.param(line_with(b"Upgrade: h2c"), id="an upgrade"),
        pytest.param(line_with(b"Trailer: X"), id="a trailer to come"),
        pytest.param(line_with(b"X-A: b  "), id="spaces behind a value"),
        pytest.param(line_with(b"X-A:   b"), id="spaces before a value"),
        pytest.param(line_with(b"X-A : b"), id="a space before the colon"),
        pytest.param(line_with(b"X-A: b\r\n c"), id="a folded line"),
        pytest.param(line_with(b"X-A: b\x00"), id="NUL"),
        pytest.param(line_with(b"X-A: b\x7f"), id="DEL"),
        pytest.param(line_with(b"X-A: b\rc"), id="a bare CR"),
        pytest.param(line_with(b"X A: b"), id="a space in a name"),
        pytest.param(line_with(b"X_A.b: c"), id="an unusual name"),
        pytest.param(line_with(b": b"), id="no name"),
        pytest.param(line_with(b"X-A"), id="no colon"),
    ],
)
def test_what_is_rare_or_wrong_is_read_as_the_parser_reads_it(data: bytes) -> None:
    assert read(Answer(), data) == read(Parsed(), data)


def test_an_answer_to_head_has_no_body() -> None:
    head, _, _ = SMALL.partition(b"ok")
    assert read(Answer(head_only=True), head) == read(Parsed(head_only=True), head)
    assert read(Answer(head_only=True), SMALL) == read(Parsed(head_only=True), SMALL)


@pytest.mark.parametrize("length", range(len(SMALL)))
def test_an_answer_in_two_pieces_is_the_same(length: int) -> None:
    answer = Answer()
    answer.feed(SMALL[:length] or SMALL)
    if length:
        answer.feed(SMALL[length:])
    assert (answer.status, answer.complete, answer.take_body()) == (200, True, b"ok")


_LINES = st.sampled_from(
    [
        *(b"Content-Length: 3", b"content-length:3", b"Content-Length: 0", b"Content-Length: 3, 3"),
        *(b"Connection: close", b"connection: Keep-Alive", b"Connection: x", b"Keep-Alive: a"),
        *(b"X-A: b", b"x_a:b", b"X-A: \xe9", b"X-A:  b", b"X-A: b ", b"X-A:", b"X : y", b" folded"),
        *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"no colon", b"", b"X: \x0b"),
    ]
)
_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"])


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Make answers of pieces that are mostly right."""
    version = draw(st.sampled_from([b"HTTP/1.1"] * 5 + [b"HTTP/1.0", b"HTTP/1.2", b"http/1.1"]))
    status = draw(st.sampled_from([b"200", b"404", b"204", b"304", b"100", b"999", b"20"]))
    lines = [version + b" " + status + draw(st.sampled_from([b" OK", b" ", b"", b" a b"]))]
    lines += draw(st.lists(_LINES, max_size=4)) + draw(
        st.sampled_from([[], [b"Content-Length: 3"]])
    )
    body = draw(st.sampled_from([b"abc", b"", b"ab", b"abcd", b"3\r\nabc\r\n0\r\n\r\n"]))
    data = b"".join(line + draw(_ENDS) for line in [*lines, b""]) + body
    if draw(st.booleans()):
        return data
    place = draw(st.integers(0, len(data)))
    return data[:place] + draw(st.binary(max_size=2)) + data[place + draw(st.integers(0, 2)) :]


@given(data=answers().filter(bool), head_only=st.booleans())
def test_no_answer_is_read_in_two_ways(data: bytes, head_only: bool) -> None:
    assert read(Answer(head_only=head_only), data) == read(Parsed(head_only=head_only), data)
