"""Redirection URIs: the gateway answers at a registered one and nowhere else."""

from __future__ import annotations

from collections import Counter
from random import Random

from gateway.protocol.redirect_uris import matches_registered, redirect_uri_fault
from tests.fuzz.campaign import Case, Complaint, Fuzzer
from tests.fuzz.redirects.corpus import CORPUS, REGISTERED, made_at_random
from tests.fuzz.redirects.endpoint import Answer, Endpoint
from tests.fuzz.redirects.oracle import is_dangerous, is_registered

#: Longer ones do not fit into a request's target when each byte is escaped.
_LONGEST = 2500
_REGISTERED = tuple(uri.decode() for uri in REGISTERED)


def make(number: int, random: Random) -> Case:
    """Return the URIs of the corpus first, then URIs made at random."""
    data = CORPUS[number] if number < len(CORPUS) else made_at_random(random)[:_LONGEST]
    return Case(data, random.randrange(4))


def fuzzer(endpoint: Endpoint) -> Fuzzer:
    """Return the fuzzer of an authorization endpoint and of the functions that decide in it."""

    def check(case: Case, tally: Counter[str]) -> Complaint | None:
        return complaint_about_functions(case, tally) or complaint_about_endpoint(
            endpoint, case, tally
        )

    return Fuzzer("redirects", make, check)


def complaint_about_functions(case: Case, tally: Counter[str]) -> Complaint | None:
    """Compare the two pure functions with the oracle."""
    uri = case.data.decode("utf-8", "surrogateescape")
    expected = is_registered(case.data, REGISTERED)
    if matches_registered(uri, _REGISTERED) != expected:
        return Complaint(f"matches_registered must be {expected}", repr(uri))
    fault = redirect_uri_fault(uri)
    tally["may be registered" if fault is None else "may not be registered"] += 1
    if fault is None and is_dangerous(uri):
        return Complaint("redirect_uri_fault lets it be registered", repr(uri))
    if fault is not None and uri in _REGISTERED:
        return Complaint("redirect_uri_fault refuses it", f"{uri!r}: {fault}")
    return None


def complaint_about_endpoint(
    endpoint: Endpoint, case: Case, tally: Counter[str]
) -> Complaint | None:
    """Ask for the URI as a signed-in user, rightly and wrongly, and as nobody."""
    uri, plain = case.data, bool(case.way % 2)
    allowed = is_registered(uri, REGISTERED)
    tally["answered at the URI" if allowed else "refused on a page"] += 1
    signed_in = endpoint.ask(uri, response_type="code", signed_in=True, plain=plain)
    if complaint := _judged(signed_in, uri, allowed, {"code", "state", "iss"}):
        return complaint
    if case.way < 2:
        faulty = endpoint.ask(uri, response_type="token", signed_in=True, plain=plain)
        return _judged(faulty, uri, allowed, {"error", "error_description", "state", "iss"})
    nobody = endpoint.ask(uri, response_type="code", signed_in=False, plain=plain)
    if allowed:
        return (
            None
            if _stays_here(nobody, endpoint)
            else Complaint("a sign-in elsewhere", repr(nobody))
        )
    return _judged(nobody, uri, allowed, set())


def _judged(answer: Answer, uri: bytes, allowed: bool, names: set[str]) -> Complaint | None:
    if allowed:
        exact = answer.answers_at(uri.decode(), names)
        return None if exact else Complaint("no answer at a registered URI", repr(answer))
    if answer.locations:
        return Complaint("a redirect for a URI that is not registered", repr(answer))
    return None if answer.is_error_page() else Complaint("no error page", repr(answer))


def _stays_here(answer: Answer, endpoint: Endpoint) -> bool:
    """Tell whether the user is asked to sign in at this gateway."""
    here = endpoint.gateway + "/"
    return all(
        each.startswith(here) or (each.startswith("/") and each[1:2] not in {"/", "\\"})
        for each in answer.locations
    ) and answer.status in {200, 302, 303}
