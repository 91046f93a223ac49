"""Live connections: vectors of request smuggling, and a canary after each of them."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from random import Random

from tests.fuzz.campaign import Case, Complaint, Fuzzer
from tests.fuzz.live.judge import (
    Sent,
    Told,
    complaint_about_answers,
    complaint_about_backend,
    read_as_sent,
)
from tests.fuzz.live.stand import Stand, answers_to, request_of
from tests.fuzz.mutation import mutated
from tests.fuzz.requests import LARGE, ORDINARY, SMUGGLING, filled_in
from tests.proxy.wire import Answer

#: Filled in when a case is sent, so that each connection has paths of its own.
_NUMBER = b"number-of-12"
_TOKEN = b"TOKEN-OF-THE-STAND"
_PUBLIC, _PROTECTED = b"/public/req-" + _NUMBER, b"/private/rq-" + _NUMBER
_HIDDEN = (b"/public/hid-" + _NUMBER, b"/private/hi-" + _NUMBER)
_TOKEN_LINE = b"Authorization: Bearer " + _TOKEN + b"\r\n"

#: So many of the bodies are large.
_LARGE_SHARE = 0.03

#: How a connection ends, by ``way % 4``: it stays open in half of the cases.
_CLOSES, _RESETS = 2, 3


def make(number: int, random: Random) -> Case:
    """Return one or two requests on a public or a protected path, most of them mutated."""
    seeds = random.choice((SMUGGLING, ORDINARY))
    data = b"".join(_request(random, seeds) for _ in range(random.choice((1, 1, 1, 2))))
    if random.random() < 0.75:
        data = mutated(random, data, SMUGGLING, most=2)
    cut = random.choice((0, random.randrange(1, 4096)))
    return Case(data, 4 * cut + random.randrange(4))


def _request(random: Random, seeds: tuple[bytes, ...]) -> bytes:
    path, token = random.choice(((_PUBLIC, b""), (_PROTECTED, b""), (_PROTECTED, _TOKEN_LINE)))
    seed = LARGE if random.random() < _LARGE_SHARE else random.choice(seeds)
    return filled_in(seed, path, random.choice(_HIDDEN), token)


def fuzzer(stand: Stand) -> Fuzzer:
    """Return the fuzzer of a running gateway."""

    def check(case: Case, tally: Counter[str]) -> Complaint | None:
        return complaint_about(stand, case, tally)

    return Fuzzer("live", make, check)


def complaint_about(stand: Stand, case: Case, tally: Counter[str]) -> Complaint | None:
    """Send a case and canaries, and judge all that came of it."""
    stand.number += 1
    number = b"%012d" % stand.number
    data = case.data.replace(_NUMBER, number).replace(_TOKEN, stand.token)
    try:
        return (
            _complaint_about_conversation(stand, case.way, data, tally)
            or _complaint_about_fresh_canary(stand)
            or complaint_about_backend(stand.reached(), stand.sent, stand.with_token)
            or stand.complaint_about_process()
        )
    except (TimeoutError, ValueError) as error:
        return Complaint(f"no answer: {type(error).__name__}", repr(error))


def _complaint_about_conversation(
    stand: Stand, way: int, data: bytes, tally: Counter[str]
) -> Complaint | None:
    """Send the bytes; then break off, or send a canary behind them and judge all answers."""
    sent = read_as_sent(data, stand.token)
    canary = Told("GET", f"/public/canary-{stand.number}")
    stand.sent.update(sent.requests, [canary])
    stand.with_token.update(sent.with_token)
    answers = _converse(stand, way, data, sent, canary)
    tally["requests in all, as h11 reads them"] += len(sent.requests)
    tally["canaries on the same connection"] += sent.goes_on and len(answers) > len(sent.requests)
    for answer in answers:
        tally[f"answers with {answer.status}"] += 1
    return complaint_about_answers(answers, sent.requests, canary if sent.goes_on else None)


def _converse(stand: Stand, way: int, data: bytes, sent: Sent, canary: Told) -> list[Answer]:
    cut = way // 4 % (len(data) + 1)
    with contextlib.closing(stand.connect()) as client:
        # A server that has heard enough has answered all the same.
        with contextlib.suppress(ConnectionError):
            for piece in filter(None, (data[:cut], data[cut:])):
                client.send(piece)
        if way % 4 == _RESETS:
            client.reset()
        if way % 4 in {_CLOSES, _RESETS}:
            return []
        with contextlib.suppress(OSError):
            if sent.goes_on:
                client.send(request_of(canary))
            else:
                # Nothing that follows could be told from what is left over.
                client.sock.shutdown(socket.SHUT_WR)
        return list(answers_to(client, [*(each.method for each in sent.requests), "GET"]))


def _complaint_about_fresh_canary(stand: Stand) -> Complaint | None:
    """Ask on a new connection, with and without a token in turn; the answer must be its own."""
    protected = stand.number % 2 == 0
    path = "private" if protected else "public"
    canary = Told("GET", f"/{path}/fresh-canary-{stand.number}")
    stand.sent.add(canary)
    if protected:
        stand.with_token.add(canary)
    with contextlib.closing(stand.connect()) as client:
        client.send(request_of(canary, token=stand.token if protected else b""))
        answers = list(answers_to(client, ["GET"]))
    if not answers:
        return Complaint("a fresh canary got no answer", repr(canary))
    return complaint_about_answers(answers, [], canary)
