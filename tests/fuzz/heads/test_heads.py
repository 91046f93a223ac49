"""What our parser accepts, gunicorn's and h11 read alike; a small run of the fuzzer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from gunicorn.config import Config

from tests.fuzz.campaign import Case, cases, run
from tests.fuzz.heads.differences import why_h11_may_refuse
from tests.fuzz.heads.fuzzer import complaint_about, fuzzer, settings
from tests.fuzz.heads.readers import Reader, Reading, Refusal, gunicorns, h11s, ours
from tests.fuzz.requests import ORDINARY, filled_in

CASES = 4000


def test_no_head_is_read_in_two_ways() -> None:
    outcome = run(fuzzer(), seed=1, count=CASES)
    assert [str(failure) for failure in outcome.failures] == []
    # Enough is accepted, by both of our ways to read, that the comparison means something.
    assert outcome.tally["accepted, read in one step"] >= CASES / 20
    assert outcome.tally["accepted, read by gunicorn"] >= CASES / 20


@pytest.mark.parametrize("request_bytes", [filled_in(each, b"/a/b") for each in ORDINARY])
def test_what_clients_send_is_read_by_all_three(request_bytes: bytes) -> None:
    first = next(ours(settings(), (request_bytes,)))
    assert isinstance(first, Reading)
    assert isinstance(h11s(request_bytes), Reading)
    assert complaint_about(ours, Case(request_bytes), Counter()) is None


def _with_every_line_feed(cfg: Config, pieces: tuple[bytes, ...]) -> Iterator[Reading | Refusal]:
    return gunicorns(cfg, (b"".join(pieces).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),))


def _without_vertical_tabs(cfg: Config, pieces: tuple[bytes, ...]) -> Iterator[Reading | Refusal]:
    return gunicorns(cfg, (b"".join(pieces).replace(b"\x0b", b""),))


def _with_underscores(cfg: Config, pieces: tuple[bytes, ...]) -> Iterator[Reading | Refusal]:
    return gunicorns(cfg, (b"".join(pieces).replace(b"_", b"-"),))


@pytest.mark.parametrize(
    "reader", [_with_every_line_feed, _without_vertical_tabs, _with_underscores]
)
def test_a_laxer_parser_is_found_out(reader: Reader) -> None:
    lax = fuzzer(reader)
    assert any(lax.check(case, Counter()) for case in cases(lax, seed=1, count=CASES))


def test_a_difference_of_h11_is_allowed_for_a_stated_reason_only() -> None:
    data = filled_in(ORDINARY[0], b"/a/b")
    (reading, _) = ours(settings(), (data,))
    assert isinstance(reading, Reading)
    for why in ("bad Content-Length", "illegal request line", "multiple Transfer-Encoding headers"):
        assert why_h11_may_refuse(reading, Refusal(why)) == ""
