"""What holds for every input, not only for those that somebody thought of."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from functools import reduce
from ipaddress import ip_network
from urllib.parse import parse_qsl, quote, quote_from_bytes, unquote_to_bytes, urlsplit

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from werkzeug.http import parse_cookie

from gateway.access.identity import IdentityHeaders
from gateway.access.routes import ANY_VALID_TOKEN, Requirement, Routes
from gateway.config.settings import Identity, Route
from gateway.grants.authorization import Destination, authorization_response
from gateway.http.bearer import MalformedBearer, bearer_token
from gateway.http.paths import RefusedPath, readings
from gateway.http.peers import TrustedProxies
from gateway.protocol.errors import OAuthError
from gateway.protocol.parameters import AUTHORIZE
from gateway.protocol.redirect_uris import matches_registered, redirect_uri_fault
from gateway.protocol.request_rules import FormKind, Submission, validate_submission
from gateway.tokens.token import Kind, TokenKey, TokenKeys, new_grant_id
from tests.support.oauth_client import Browser
from tests.support.raw import request
from tests.support.recording import Recorded, recorded_gateway
from tests.support.running_gateway import RunningGateway

settings.register_profile("pure", max_examples=200, deadline=None, derandomize=True, database=None)
settings.register_profile("http", max_examples=60, deadline=None, derandomize=True, database=None)
pure = settings.get_profile("pure")
over_http = settings.get_profile("http")

# --- Paths

_WORDS = ["public", "admin", "x", "secret", "mcp", "a", ".", "..", "...", "%2e", "%2E%2e", "%252e"]
_SEPARATORS = ["/", "/", "/", "//", "%2f", "%2F", "%252F", "%5c", "\\", ";", "%3b", ";x=y", "%3f"]
_ODDITIES = ["%23", "%25", "%", "%u002e", "%00", "%20", "%c0%ae", "%C3%A9", "%61", "%2561", "+"]

raw_paths = st.lists(
    st.sampled_from(_WORDS + _SEPARATORS + _SEPARATORS + _ODDITIES), min_size=1, max_size=10
).map(lambda parts: "/" + "".join(parts))

ROUTES = Routes(
    [
        Route("/x/secret", scopes=("admin",)),
        Route("/x/**", public=True),
        Route("/public/**", public=True),
        Route("/mcp", public=True),
        Route("/admin", scopes=("admin",)),
        Route("/admin/**", scopes=("admin",)),
        Route("/a/*", scopes=("project",)),
    ]
)


def _without_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4, as far as a rule can tell."""
    ends_in_slash = path.endswith(("/", "/.", "/.."))
    resolved = posixpath.normpath(path.replace("//", "/\0/")).replace("/\0/", "//")
    return resolved if resolved.endswith("/") or not ends_in_slash else resolved + "/"


def _decoded(path: str) -> str:
    return unquote_to_bytes(path.encode("latin-1")).decode("latin-1")


#: What servers, proxies and frameworks do with a path, in one order or another.
STEPS: dict[str, Callable[[str], str]] = {
    "decode": _decoded,
    "decode all but %2F": lambda path: "%2F".join(map(_decoded, re.split("%2[fF]", path))),
    "merge slashes": lambda path: re.sub("//+", "/", path),
    "drop parameters": lambda path: re.sub(";[^/]*", "", path),
    "resolve dot segments": _without_dot_segments,
    "cut at ? or #": lambda path: re.split("[?#]", path, maxsplit=1)[0],
    "take \\ for /": lambda path: path.replace("\\", "/"),
    "drop the authority": lambda path: re.sub("^//+[^/]*", "", path),
}
backends = st.tuples(
    st.lists(
        st.sampled_from(["merge slashes", "drop parameters", "resolve dot segments"]), max_size=2
    ),
    st.sampled_from(["decode", "decode all but %2F"]),
    st.lists(st.sampled_from(sorted(STEPS)), max_size=4),
).map(lambda steps: [*steps[0], steps[1], *steps[2]])


def served(path: str, steps: list[str]) -> str:
    """Return what a backend makes of a path."""
    return reduce(lambda read, step: STEPS[step](read), steps, path)


@settings(pure, max_examples=400)
@given(raw_paths, backends)
@example("/x/secret;a%2Fb", ["drop parameters", "decode"])
@example("/a//%2Fb", ["merge slashes", "decode"])
@example("//a/b%2Fc", ["decode all but %2F", "merge slashes"])
@example("/public/..%3fx", ["decode", "cut at ? or #", "resolve dot segments"])
@example("//a/admin/x", ["drop the authority", "decode"])
@example("/%2561dmin%252Fx", ["decode", "decode all but %2F"])
def test_no_backend_serves_another_rules_path_than_was_judged(path: str, steps: list[str]) -> None:
    try:
        needed = ROUTES.requirement("GET", readings(path, escaped=True))
    except RefusedPath:
        return
    read = served(path, steps)
    assert ROUTES.requirement("GET", [read or "/"]) == needed


@pure
@given(raw_paths.map(_decoded), st.lists(st.sampled_from(sorted(STEPS)), max_size=4))
def test_no_wrapped_application_serves_another_rules_path_either(
    path: str, steps: list[str]
) -> None:
    try:
        needed = ROUTES.requirement("GET", readings(path, escaped=False))
    except RefusedPath:
        return
    read = served(path, steps)
    assert ROUTES.requirement("GET", [read or "/"]) == needed


@pure
@given(st.text(st.characters(max_codepoint=255), max_size=40), st.booleans())
def test_every_path_has_readings_or_is_refused(path: str, escaped: bool) -> None:
    try:
        found = readings(path, escaped=escaped)
    except RefusedPath:
        return
    assert found
    assert all(reading.startswith("/") for reading in found)
    assert not any(segment in {".", ".."} for each in found for segment in each.split("/"))


@pure
@given(st.lists(st.text("aZ09_~-", min_size=1, max_size=3), min_size=1).map("/a.".join))
def test_a_plain_path_has_one_reading(rest: str) -> None:
    path = f"/{rest}"
    assert readings(path, escaped=True) == (path,) == readings(path, escaped=False)


@pure
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_a_name_in_any_script_is_not_refused(name: str) -> None:
    """Escaped as browsers do it; but for what no client leaves in a path."""
    assume(not re.search(r"[\\%/;?#]|^[. ]+$", name))
    path = f"/a/{quote(name, safe='')}"
    assert ROUTES.requirement("GET", readings(path, escaped=True)) == Requirement(
        scopes=("project",)
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    routes = """
[[routes]]
path = "/x/secret"
scopes = ["admin"]

[[routes]]
path = "/x/**"
public = true

[[routes]]
path = "/mcp"
public = true
"""
    folder = tmp_path_factory.mktemp("properties")
    with recorded_gateway("standalone", folder, extra=routes) as running:
        yield running


queries = st.one_of(
    st.just(""), st.text("/?%;&=.#ax2e\\", max_size=12).map(lambda query: "?" + query)
)


@settings(over_http, max_examples=100)
@given(raw_paths, queries)
def test_what_the_backend_receives_is_what_was_judged_byte_for_byte(
    recorded: Recorded, path: str, query: str
) -> None:
    """Sent without a token: what reaches the backend is public however it is read."""
    answer = request(recorded.gateway.port, path + query)
    reached = recorded.reached()
    assert answer.status in {200, 400, 401}
    assert len(reached) == (answer.status == 200)
    if reached:
        assert reached[0].target == path + query
        needed = ROUTES.requirement("GET", readings(path, escaped=True))
        assert needed.public


# --- Redirection URIs

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


# --- Parameters

_NAMES = ["client_id", "redirect_uri", "response_type", "scope", "state", "code", "grant_type"]
_NAMES += ["refresh_token", "token", "code_verifier", "code_challenge", "code_challenge_method"]
_NAMES += ["client_secret", "token_type_hint", "decision", "csrf_token", "next", "username"]
_NAMES += ["password", "grant_id", "resource", "user", "\u0000", "é"]
_VALUES = ["my-app", "confidential", "code", "project", "S256", "authorization_code", "allow", ""]
_VALUES += [
    "refresh_token",
    "client_credentials",
    "http://localhost:3000/oauth_code",
    "|",
    "[",
    "//",
]
_VALUES += ["/oauth/authorize?client_id=my-app&redirect_uri=http://[", "demo", "a" * 5000]

fields = st.lists(
    st.tuples(
        st.sampled_from(_NAMES).map(lambda name: quote(name, safe="").encode()),
        st.one_of(
            st.sampled_from(_VALUES).map(lambda value: quote(value, safe="").encode()),
            st.binary(max_size=12).map(lambda raw: quote_from_bytes(raw, safe="").encode()),
            st.text(max_size=6).map(lambda text: quote(text, safe="").encode()),
            st.binary(max_size=12),
        ),
    ).map(b"=".join),
    max_size=6,
).map(b"&".join)
encoded = st.one_of(fields, st.binary(max_size=60), st.just(b"a=1&" * 100))
# What a server lets through to an application, raw.
in_target = encoded.map(lambda raw: re.sub(rb"[\x00-\x20\x7f-\xff#]", b"%", raw).decode("ascii"))
in_header = st.one_of(
    st.binary(max_size=30).map(
        lambda raw: re.sub(rb"[\x00-\x1f\x7f]", b"?", raw).decode("latin-1")
    ),
    st.sampled_from(
        ["Basic Og==", "Basic =", "Basic gA==", "Bearer", "Basic Y29uZmlkZW50aWFsOiU="]
    ),
)
CONTENT_TYPES = ["application/x-www-form-urlencoded"] * 6
CONTENT_TYPES += [
    "application/x-www-form-urlencoded; charset=utf-16",
    "application/json",
    "",
    "\xe9",
]
ENDPOINTS = ["authorize", "token", "revoke", "introspect", "sign-in", "sign-out", "applications"]
ENDPOINTS += ["verify", "health"]
FRAPPE = "/api/method/frappe.integrations.oauth2.revoke_token"


@pytest.fixture(scope="module")
def session(gateway: RunningGateway) -> str:
    """The cookie of a browser in which demo is signed in."""
    browser = Browser(gateway.url)
    with browser.session:
        assert browser.sign_in().status_code == 303
        return "; ".join(f"{name}={value}" for name, value in browser.session.cookies.items())


@st.composite
def requests_by_hand(draw: st.DrawFn) -> tuple[str, str, bytes, list[str]]:
    """Return a method, a target, a body and headers, the Cookie still to be begun."""
    path = draw(st.sampled_from([*(f"/oauth/{name}" for name in ENDPOINTS), FRAPPE]))
    query, body = draw(in_target), draw(encoded)
    lines = [f"Content-Type: {draw(st.sampled_from(CONTENT_TYPES))}"]
    lines.append(f"Content-Length: {len(body)}")
    if draw(st.booleans()):
        lines.append(f"Authorization: {draw(in_header)}")
    lines.append(f"Cookie: {draw(st.one_of(st.just(''), in_header))}")
    method = draw(st.sampled_from(["GET", "POST", "POST", "HEAD", "PUT", "OPTIONS"]))
    return method, f"{path}?{query}" if query else path, body, lines


@settings(over_http, max_examples=150)
@given(requests_by_hand(), st.booleans())
@example(("GET", "/oauth/sign-in", b"", ["Cookie: a=\xe9"]), False)
def test_no_input_gives_an_error_of_the_server(
    gateway: RunningGateway,
    session: str,
    by_hand: tuple[str, str, bytes, list[str]],
    signed_in: bool,
) -> None:
    method, target, body, headers = by_hand
    *others, cookie = headers
    cookie += f"; {session}" if signed_in else ""
    answer = request(gateway.port, target, *others, cookie, method=method, body=body)
    assert answer.status < 500, answer


@pure
@given(encoded.map(lambda raw: raw.decode("latin-1")))
def test_parameters_are_read_once_and_well_formed_or_refused(raw: str) -> None:
    try:
        parameters = validate_submission(Submission(FormKind.AUTHORIZE, encoded=raw))
    except OAuthError:
        return
    assert parameters.keys() <= AUTHORIZE.keys()
    assert all(value.isascii() and value.isprintable() for value in parameters.values())


# --- Tokens and forms

KEYS = TokenKeys((b"a" * 32, b"b" * 32))
OTHER_KEY = TokenKey(b"c" * 32)
kinds = st.sampled_from(list(Kind))


@pure
@given(kinds, st.integers(0, 67), st.text(min_size=1, max_size=1), st.data())
def test_no_change_of_a_token_is_genuine(
    kind: Kind, position: int, character: str, data: st.DataObject
) -> None:
    token = data.draw(st.sampled_from(KEYS.all)).random(kind, new_grant_id()).text
    assert KEYS.read(kind, token) is not None
    changed = data.draw(
        st.sampled_from(
            [
                token[:position] + character + token[position + 1 :],
                token[:position] + character + token[position:],
                token[:position] + token[position + 1 :],
                token[:position],
                token[position:],
                token + character,
                character + token,
                token.swapcase(),
                token[::-1],
            ]
        )
    )
    assume(changed != token)
    assert all(KEYS.read(any_kind, changed) is None for any_kind in Kind)


@pure
@given(kinds, kinds)
def test_a_token_is_of_its_kind_and_of_its_key(kind: Kind, other: Kind) -> None:
    token = KEYS.newest.random(kind, new_grant_id())
    assert (KEYS.read(other, token.text) is not None) == (kind is other)
    assert KEYS.read(kind, OTHER_KEY.random(kind, token.grant_id).text) is None
    relabelled = other.value + token.text[3:]
    assert (KEYS.read(other, relabelled) is not None) == (kind is other)


@pure
@given(st.text(max_size=80), kinds)
def test_no_text_that_was_not_issued_is_a_token(text: str, kind: Kind) -> None:
    assert KEYS.read(kind, text) is None
    assert KEYS.read(kind, f"{kind.value}_{text}") is None


parts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
contexts = st.lists(parts, max_size=5)


@pure
@given(contexts, contexts)
def test_forms_of_different_contexts_have_different_proofs(one: list[str], two: list[str]) -> None:
    proof = KEYS.newest.form_token(*one)
    assert (proof == KEYS.newest.form_token(*two)) == (one == two)
    assert KEYS.is_form_token(proof, *two) == (one == two)


@pure
@given(parts, st.integers(0, 6), st.integers(0, 6))
def test_where_one_part_ends_makes_a_difference_to_the_proof(text: str, one: int, two: int) -> None:
    assume(min(one, len(text)) != min(two, len(text)))
    first = KEYS.newest.form_token("consent", text[:one], text[one:])
    second = KEYS.newest.form_token("consent", text[:two], text[two:])
    assert first != second


@pure
@given(st.text(max_size=60), contexts)
def test_a_made_up_proof_is_none(made_up: str, context: list[str]) -> None:
    assert not KEYS.is_form_token(made_up.encode("utf-8", "replace").decode(), *context)


# --- Headers

headers = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=40)


@pure
@given(st.one_of(headers, headers.map(lambda rest: f"Bearer {rest}")))
def test_a_bearer_token_is_the_whole_of_its_header(header: str) -> None:
    try:
        token = bearer_token(header)
    except MalformedBearer:
        assert header.lower().startswith("bearer")
        return
    if token is not None:
        assert re.fullmatch(r"[A-Za-z0-9._~+/=-]+", token)
        assert header[6:].strip(" ") == token
        assert header[:6].lower() == "bearer"


cookies = st.lists(
    st.one_of(
        st.sampled_from(["gateway_session=s", ' "gateway_session"=s', "gateway_session =s", "a=1"]),
        st.text("ab=\"' \tgateway_session", max_size=12),
    ),
    max_size=5,
)


@pure
@given(cookies, st.sampled_from([";", "; ", ",", " ;\t"]))
def test_no_reading_of_a_cookie_header_has_the_gateways_own(
    pairs: list[str], separator: str
) -> None:
    identity = IdentityHeaders(Identity(), "", ["gateway_session"])
    left = identity.without_own_cookies(separator.join(pairs))
    assert "gateway_session" not in parse_cookie(left)
    names = [pair.partition("=")[0].strip(" \t\"'") for pair in re.split("[;,]", left)]
    assert "gateway_session" not in names
    kept = [pair.strip(" \t") for pair in pairs if "gateway_session" not in pair]
    assert all(pair in left for pair in kept)


@pure
@given(
    st.lists(st.sampled_from(["X", "FORWARDED", "USER", "x", "user"]), min_size=1, max_size=4),
    st.text("-_.~!#$%&'*+^`|", min_size=1, max_size=1),
    st.booleans(),
)
def test_no_spelling_of_an_identity_header_stays(
    words: list[str], separator: str, trusted: bool
) -> None:
    name = separator.join(words)
    environ = {f"HTTP_{name.upper().replace('-', '_')}": "admin", "HTTP_ACCEPT": "*/*"}
    identity = IdentityHeaders(Identity(user="X-User"), "", [])
    identity.remove(environ, from_trusted_proxy=trusted)
    folded = re.sub(r"[^A-Z0-9]", "_", name.upper())
    assert ("admin" in environ.values()) == (folded not in {"X_USER", "X_FORWARDED_USER"})
    assert environ["HTTP_ACCEPT"] == "*/*"


@pure
@given(st.text(max_size=30), st.ip_addresses(), st.ip_addresses(network="10.0.0.0/8"))
def test_what_a_client_writes_does_not_change_its_address(
    written: str, client: object, proxy: object
) -> None:
    trusted = [ip_network("10.0.0.0/8")]
    proxies = TrustedProxies(trusted)
    chain = f"{written}, {client}"
    assume(client not in trusted[0])
    assert proxies.client_address(str(proxy), chain) == str(client)
    assert proxies.client_address("192.0.2.1", chain) == "192.0.2.1"


def test_the_routes_of_the_properties_differ() -> None:
    """Or the properties of paths would hold for want of rules to mix up."""
    needed = {path: ROUTES.requirement("GET", [path]) for path in ("/x/secret", "/x/a", "/other")}
    assert needed["/x/a"].public
    assert needed["/x/secret"].scopes == ("admin",)
    assert needed["/other"] == ANY_VALID_TOKEN
