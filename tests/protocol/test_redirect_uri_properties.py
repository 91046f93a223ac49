"""Whatever the URI, an answer goes to a registered one alone."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.grants.authorization import Destination, authorization_response
from gateway.protocol.redirect_uris import matches_registered, redirect_uri_fault
from tests.support.properties import pure

REGISTERED = [
    "https://app.example/cb",
    "https://app.example/cb?kept=yes",
    "http://localhost:3000/oauth_code",
    "http://127.0.0.1/cb",
    "http://127.0.0.1:8000/cb",
    "http://[::1]/cb?x=1",
    "com.example.app:/cb",
]
_LOOPBACK_PORT = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(:([1-9][0-9]{0,4}))?(/.*)")


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, str]:
    """Return a registered URI, and it with one or two changes."""
    registered = draw(st.sampled_from(REGISTERED))
    uri = registered
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, len(uri)))
        end = draw(st.integers(start, min(len(uri), start + 3)))
        put = draw(
            st.one_of(
                st.text(":/@.?#[]%\\0123456789 ", max_size=3),
                st.text(max_size=2),
                st.sampled_from([":80", ":65536", "//", "/..", "@evil.example", ".evil.example"]),
            )
        )
        uri = uri[:start] + put + uri[end:]
    return registered, draw(st.sampled_from([uri, uri, uri.swapcase(), quote(uri, safe=":/")]))


@settings(pure, max_examples=400)
@given(mutated())
def test_a_changed_redirect_uri_does_not_match(pair: tuple[str, str]) -> None:
    """But for the port of a loopback address."""
    registered, asked = pair
    known, changed = _LOOPBACK_PORT.fullmatch(registered), _LOOPBACK_PORT.fullmatch(asked)
    differs_in_port_only = (
        known is not None
        and changed is not None
        and known.group(1, 4) == changed.group(1, 4)
        and int(changed[3] or 80) <= 65_535
    )
    assert matches_registered(asked, [registered]) == (asked == registered or differs_in_port_only)


@pure
@given(st.sampled_from(["127.0.0.1", "[::1]"]), st.integers(1, 65_535), st.integers(1, 65_535))
def test_every_loopback_port_matches_every_other(host: str, asked: int, registered: int) -> None:
    """RFC 8252 §7.3."""
    known = [f"http://{host}:{registered}/cb"]
    assert matches_registered(f"http://{host}:{asked}/cb", known)
    assert not matches_registered(f"http://{host}:{asked}/other", known)


registrable = st.one_of(
    st.sampled_from(REGISTERED),
    mutated().map(lambda pair: pair[1]),
    st.from_regex(r"https?://[a-zA-Z0-9.:@_\[\]%!-]{1,12}(/[a-z.%?=&]{0,6})?", fullmatch=True),
    st.from_regex(r"[a-z.+-]{1,12}:/{0,3}[a-z@:.]{0,6}", fullmatch=True),
).filter(lambda uri: redirect_uri_fault(uri) is None)


@pure
@given(registrable, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_an_answer_goes_to_where_the_registered_uri_points(uri: str, state: str) -> None:
    answer = authorization_response(
        Destination(uri, redirect_uri_sent=True, state=state or None),
        "https://issuer.example",
        [("code", "c")],
    )
    assert answer.startswith(uri)
    before, after = urlsplit(uri), urlsplit(answer)
    assert before[:3] == after[:3]
    assert after.fragment == ""
    added = [("code", "c"), *([("state", state)] if state else [])]
    added.append(("iss", "https://issuer.example"))
    assert parse_qsl(after.query, keep_blank_values=True)[-len(added) :] == added
    assert before.scheme not in {"javascript", "data", "file", "vbscript", "blob", "about"}
    assert before.scheme not in {"http", "https"} or "@" not in before.netloc
