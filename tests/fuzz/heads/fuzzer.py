"""Request heads in all their variants: what our parser accepts, others must read alike."""

from __future__ import annotations

import tempfile
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

from gunicorn.config import Config

from gateway.config.file import load_config
from gateway.server.standalone import StandaloneGateway
from tests.fuzz.campaign import Case, Complaint, Fuzzer
from tests.fuzz.heads.differences import difference, why_h11_may_refuse
from tests.fuzz.heads.readers import Reader, Reading, Refusal, gunicorns, h11s, ours
from tests.fuzz.mutation import mutated
from tests.fuzz.requests import ORDINARY, SMUGGLING, filled_in
from tests.support.running_gateway import write_settings

#: Requests to mutate.
SEEDS = tuple(filled_in(each, b"/a/b") for each in (*ORDINARY, *SMUGGLING))


def make(number: int, random: Random) -> Case:
    """Return mutated requests; a third of them come in two pieces."""
    data = random.choice(SEEDS)
    if random.random() < 0.2:
        data += random.choice(SEEDS)
    way = random.choice((0, 0, random.randrange(1, 4096)))
    return Case(mutated(random, data, SEEDS), way)


def pieces_of(case: Case) -> tuple[bytes, ...]:
    """Return the bytes as they come: ``way`` 0 is one piece, other numbers say where it is cut."""
    cut = case.way % (len(case.data) + 1)
    return tuple(filter(None, (case.data[:cut], case.data[cut:])))


def fuzzer(reader: Reader = ours) -> Fuzzer:
    """Return the fuzzer of ``reader``, which is the gateway's unless a test puts in another."""

    def check(case: Case, tally: Counter[str]) -> Complaint | None:
        return complaint_about(reader, case, tally)

    return Fuzzer("heads", make, check)


def complaint_about(reader: Reader, case: Case, tally: Counter[str]) -> Complaint | None:
    """Compare what ``reader`` accepts, request by request, with gunicorn and with h11."""
    cfg, pieces = settings(), pieces_of(case)
    theirs = gunicorns(cfg, pieces)
    start = 0
    for own in reader(cfg, pieces):
        # gunicorn has read on where ours went on, or this complaint is the last.
        complaint = _against_gunicorn(own, next(theirs), tally)
        complaint = complaint or _against_h11(own, case.data[start:], tally)
        if complaint is not None or isinstance(own, Refusal):
            return complaint
        start = len(case.data) - own.rest
    return None


def _against_gunicorn(
    own: Reading | Refusal, other: Reading | Refusal, tally: Counter[str]
) -> Complaint | None:
    tally[_what_became_of(own)] += 1
    if own == other:
        return None
    if isinstance(own, Refusal) and not (own.incomplete and isinstance(other, Reading)):
        # We may be stricter.
        tally["refused though gunicorn accepts"] += isinstance(other, Reading)
        return None
    return Complaint("gunicorn reads another request", f"ours {own}\n  gunicorn {other}")


def _what_became_of(own: Reading | Refusal) -> str:
    if isinstance(own, Reading):
        return "accepted, read in one step" if own.in_one_step else "accepted, read by gunicorn"
    return "incomplete" if own.incomplete else "refused"


def _against_h11(own: Reading | Refusal, data: bytes, tally: Counter[str]) -> Complaint | None:
    other = h11s(data)
    if isinstance(own, Reading) and isinstance(other, Refusal) and not other.incomplete:
        reason = why_h11_may_refuse(own, other)
        tally[f"accepted though h11 refuses: {reason}"] += 1
        refused = f"h11 refuses: {other.why.partition(':')[0]}"
        return None if reason else Complaint(refused, f"ours {own}\n  h11 {other}")
    if kind := difference(own, other):
        return Complaint(f"h11 differs: {kind}", f"ours {own}\n  h11 {other}")
    return None


@cache
def settings() -> Config:
    """Return gunicorn's settings as the standalone gateway has them."""
    with tempfile.TemporaryDirectory() as folder:
        settings = load_config(write_settings(Path(folder), port=1))
        return StandaloneGateway(lambda: settings).cfg
