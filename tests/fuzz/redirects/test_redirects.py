"""No redirection URI but a registered one is answered at; a small run of the fuzzer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.campaign import Case, run
from tests.fuzz.redirects.corpus import CORPUS, REGISTERED
from tests.fuzz.redirects.endpoint import endpoint
from tests.fuzz.redirects.fuzzer import complaint_about_functions, fuzzer
from tests.fuzz.redirects.oracle import Destination, destination, is_dangerous, is_registered

#: URIs that a normaliser would change, and some that it cannot read.
AS_WRITTEN = (
    b"https://App.Example/Cb",
    b"https://app.example/cb?x[]=1",
    b"https://app.example/cb?",
    b"https://app.example/a//b;c=d/%zz?x='(1)'&y=b@c",
    b"https://" + b"a" * 64 + b".example/cb",
    b"http://127.0.0.1:08/cb",
    b"com.example.app:///callback",
    b"com.example.app:cb",
    b"com.example.app://HOST/cb",
    b"com.example.app://user@host/cb",
    b"com.example.app://a..b/cb",
    b"com.example.app://host:99999/cb",
    b"com.example.app://[x/cb",
)


def test_the_functions_decide_about_the_whole_corpus_as_the_oracle_does() -> None:
    assert len(CORPUS) >= 558
    complaints = [complaint_about_functions(Case(uri), Counter()) for uri in CORPUS]
    assert [each for each in complaints if each is not None] == []


def test_the_endpoint_redirects_to_registered_uris_and_to_no_other(tmp_path: Path) -> None:
    with endpoint(tmp_path) as asked:
        outcome = run(fuzzer(asked), seed=1, count=160)
    assert [str(failure) for failure in outcome.failures] == []
    assert outcome.tally["answered at the URI"] >= len(REGISTERED)
    assert outcome.tally["refused on a page"] >= 100


def test_a_registered_uri_is_answered_at_as_it_is_written(tmp_path: Path) -> None:
    """RFC 9700 §2.1: nothing is normalised on the way, and none that may be registered is a 500."""
    with endpoint(tmp_path, AS_WRITTEN) as asked:
        answers = [
            asked.ask(uri, response_type="code", signed_in=True, plain=False) for uri in AS_WRITTEN
        ]
    assert [
        uri
        for uri, answer in zip(AS_WRITTEN, answers, strict=True)
        if not answer.answers_at(uri.decode(), {"code", "state", "iss"})
    ] == []


def test_a_gateway_that_compares_beginnings_would_be_found_out() -> None:
    wrong = [uri for uri in CORPUS if uri.startswith(REGISTERED) != is_registered(uri, REGISTERED)]
    assert len(wrong) > 100


@pytest.mark.parametrize(
    ("asked", "registered", "expected"),
    [
        (b"https://a.example/cb", b"https://a.example/cb", True),
        (b"https://a.example/cb", b"https://a.example/cb/", False),
        (b"https://a.example:1/cb", b"https://a.example/cb", False),
        (b"http://127.0.0.1:1/cb", b"http://127.0.0.1/cb", True),
        (b"http://127.0.0.1/cb", b"http://127.0.0.1:8/cb", True),
        (b"http://127.0.0.1:65536/cb", b"http://127.0.0.1/cb", False),
        (b"http://127.0.0.1:/cb", b"http://127.0.0.1/cb", False),
        (b"http://127.0.0.1.evil/cb", b"http://127.0.0.1/cb", False),
        (b"http://[::1]:1/cb", b"http://127.0.0.1/cb", False),
        (b"http://localhost:1/cb", b"http://localhost/cb", False),
    ],
)
def test_the_oracle_knows_what_is_registered(
    asked: bytes, registered: bytes, expected: bool
) -> None:
    assert is_registered(asked, [registered]) is expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://a.example/cb", Destination("https", "a.example")),
        (" HTTPS:\\\\A.example\\cb", Destination("https", "a.example")),
        ("https:a.example", Destination("https", "a.example")),
        ("https://a.example@evil.example/cb", Destination("https", "evil.example")),
        ("https://evil.example\\@a.example/cb", Destination("https", "evil.example")),
        ("https://evil.example?@a.example/cb", Destination("https", "evil.example")),
        ("https://a%2eexample:8443/cb", Destination("https", "a.example")),
        ("java\nscript:alert(1)", Destination("javascript", "")),
        ("com.example.app:/cb", Destination("com.example.app", "")),
        ("//a.example/cb", None),
        ("https://", None),
    ],
)
def test_the_oracle_knows_where_a_browser_goes(uri: str, expected: Destination | None) -> None:
    assert destination(uri) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://127.0.0.1:8/cb", False),
        ("http://127.255.0.01/cb", False),
        ("http://[::1]/cb", False),
        ("http://app.localhost/cb", False),
        ("http://127.0.0.1.example/cb", True),
        ("http://128.0.0.1/cb", True),
        ("http://app.example/cb", True),
        ("https://app.example/cb#x", True),
        ("https://user@app.example/cb", True),
        ("JavaScript:x", True),
    ],
)
def test_the_oracle_knows_what_nobody_may_register(uri: str, expected: bool) -> None:
    assert is_dangerous(uri) is expected
