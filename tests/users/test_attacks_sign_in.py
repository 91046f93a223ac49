"""Nobody signs in as another, signs another in, or is led away by signing in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from time import perf_counter
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
import requests

from tests.support.oauth_client import (
    AUTHORIZE,
    REDIRECT_URI,
    Browser,
    Client,
    answer_of,
    authorization,
    form_of,
    headers_of,
)
from tests.support.raw import RawResponse, request
from tests.support.recording import WHO, Recorded, recorded_gateway, session_cookie
from tests.support.running_gateway import PASSWORD, RunningGateway, running_gateway

SIGN_IN = "/oauth/sign-in"
SIGN_OUT = "/oauth/sign-out"
APPLICATIONS = "/oauth/applications"
TRUSTED_PROXY = "127.0.0.2"
# Refused before it is hashed, so that many attempts take no time.
WRONG = "x" * 1100
_TWO_URIS = authorization(client_id="two-uris", redirect_uri="com.example.two:/cb")
ASKED = f"{AUTHORIZE}?{urlencode(_TWO_URIS)}"


def is_signed_in(browser: Browser) -> bool:
    return browser.get(APPLICATIONS).status_code == 200


def session_of(browser: Browser) -> str:
    [cookie] = [cookie for cookie in browser.session.cookies if cookie.name == "gateway_session"]
    assert cookie.value is not None
    return cookie.value


def with_session(gateway: RunningGateway, session: str) -> Browser:
    """Return another browser that brings this session id."""
    browser = Browser(gateway.url)
    browser.session.headers["Cookie"] = f"gateway_session={session}"
    return browser


def post_form(target: str, fields: dict[str, str]) -> tuple[str, str, bytes]:
    """Return what :func:`tests.support.raw.request` needs to post a form."""
    return target, "Content-Type: application/x-www-form-urlencoded", urlencode(fields).encode()


# --- Where to go after signing in

ELSEWHERE = [
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/%09/evil.example",
    "/\t/evil.example",
    "/%5cevil.example",
    "/\n/evil.example",
    "https:evil.example",
    "https://evil.example",
    "https:/oauth/authorize",
    "HTTPS://evil.example/oauth/authorize?client_id=my-app",
    "//evil.example/oauth/authorize?client_id=my-app",
    "http:oauth/authorize",
    "javascript:alert(1)",
    "data:text/html,x",
    " /oauth/authorize",
    "\x00/oauth/authorize",
    "\ufeff//evil.example",
    "/oauth/authorize@evil.example",
    "/oauth/authorize.evil.example",
    "/oauth/authorize/../../private",
    "/oauth/authorize/..//evil.example",
    "/oauth/./authorize",
    "/oauth//authorize",
    "/oauth/authorize;x",
    "/oauth/authorize%3fx",
    "/oauth/authorize#@evil.example",
    "/oauth/authorize\\@evil.example",
    "/oauth/authorize\r\nSet-Cookie: a=b",
    "/oauth/authorize?x\r\nSet-Cookie: a=b",
    "/oauth/authorize?x\u2028",
    "/oauth/authorize?\xe9",
    "/OAUTH/AUTHORIZE",
    "/private",
    "/oauth/sign-in?next=//evil.example",
    "/oauth/sign-out",
    "/oauth/token",
    "evil.example",
    ".evil.example",
    "@evil.example",
    "?//evil.example",
    "#",
]


@pytest.mark.parametrize("target", ELSEWHERE)
def test_where_to_go_after_sign_in_cannot_leave_the_gateway(
    gateway: RunningGateway, target: str
) -> None:
    page = Browser(gateway.url).get(f"{SIGN_IN}?{urlencode({'next': target})}")
    assert page.status_code == 200
    assert form_of(page).fields["next"] == APPLICATIONS
    assert form_of(page).action == SIGN_IN
    assert "evil" not in page.text


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https:evil.example"])
def test_a_target_that_is_changed_in_the_form_leads_nowhere_else(
    gateway: RunningGateway, target: str
) -> None:
    browser = Browser(gateway.url)
    fields = form_of(browser.get(SIGN_IN)).fields
    credentials = {"username": "demo", "password": PASSWORD}
    answer = browser.post(SIGN_IN, {**fields, **credentials, "next": target})
    assert (answer.status_code, answer.headers["Location"]) == (303, APPLICATIONS)


def test_a_target_of_two_is_no_target_of_neither_page(gateway: RunningGateway) -> None:
    query = f"next={quote(ASKED, safe='')}&next=//evil.example"
    page = Browser(gateway.url).get(f"{SIGN_IN}?{query}")
    assert "evil" not in page.text


def test_signing_in_leads_back_to_the_request_to_the_letter(gateway: RunningGateway) -> None:
    answer = Browser(gateway.url).sign_in(target=ASKED)
    assert (answer.status_code, answer.headers["Location"]) == (303, ASKED)


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https://evil.example"])
def test_signing_out_leads_nowhere_else_either(gateway: RunningGateway, target: str) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    page = browser.get(f"{SIGN_OUT}?{urlencode({'next': target})}")
    answer = browser.post(form_of(page).action, form_of(page).fields)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"{SIGN_IN}?next={quote(APPLICATIONS, safe='')}"


# --- The session


def test_the_session_id_changes_at_sign_in(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.get(SIGN_IN)
    before = session_of(browser)
    browser.sign_in()
    assert session_of(browser) != before
    assert is_signed_in(browser)
    assert not is_signed_in(with_session(gateway, before))


def test_a_planted_session_id_is_not_the_one_that_is_signed_in(gateway: RunningGateway) -> None:
    planted = "p" * 43
    victim = Browser(gateway.url)
    victim.session.cookies.set("gateway_session", planted, domain="127.0.0.1", path="/")
    assert victim.sign_in().status_code == 303
    assert session_of(victim) != planted
    assert not is_signed_in(with_session(gateway, planted))


def test_signing_in_again_ends_the_session_before(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    first = session_of(browser)
    browser.sign_in("zoë")
    assert session_of(browser) != first
    assert not is_signed_in(with_session(gateway, first))


def test_signing_out_ends_the_session_in_the_store(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    session = session_of(browser)
    page = browser.get(SIGN_OUT)
    assert is_signed_in(with_session(gateway, session))
    out = browser.post(SIGN_OUT, form_of(page).fields)
    assert out.status_code == 200
    assert re.search(r"gateway_session=;.*(Max-Age=0|1970)", out.headers["Set-Cookie"])
    assert not is_signed_in(with_session(gateway, session))


@pytest.mark.parametrize("proof", [None, "", "x", "another's"])
def test_nobody_is_signed_out_by_a_foreign_page(gateway: RunningGateway, proof: str | None) -> None:
    browser, other = Browser(gateway.url), Browser(gateway.url)
    browser.sign_in()
    if proof == "another's":
        other.sign_in()
        proof = form_of(other.get(SIGN_OUT)).fields["csrf_token"]
    answer = browser.post(SIGN_OUT, {} if proof is None else {"csrf_token": proof})
    assert answer.status_code in {400, 403}
    assert is_signed_in(browser)


def test_a_cookie_is_for_this_host_not_for_scripts_and_not_for_foreign_posts(
    gateway: RunningGateway,
) -> None:
    browser = Browser(gateway.url)
    for answer in (browser.get(SIGN_IN), browser.sign_in()):
        name, _, rest = answer.headers["Set-Cookie"].partition("=")
        value, *attributes = rest.split("; ")
        assert name == "gateway_session"
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", value)
        assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax"]


@pytest.mark.parametrize(
    "session",
    ["", "x", "A" * 42, "A" * 44, "A" * 43 + "=", "../" + "A" * 40, "A" * 42 + "\xe9", '"{}"'],
)
def test_what_is_no_session_id_of_ours_is_nobodys(gateway: RunningGateway, session: str) -> None:
    answer = request(gateway.port, APPLICATIONS, f"Cookie: gateway_session={session}")
    assert answer.status == 302
    assert answer.values("Location") == [f"{SIGN_IN}?next={quote(APPLICATIONS, safe='')}"]


def test_a_session_comes_in_its_cookie_or_not_at_all(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    browser.sign_in()
    session = session_of(browser)
    for target, headers in (
        (f"{APPLICATIONS}?gateway_session={session}", ()),
        (APPLICATIONS, (f"gateway-session: {session}",)),
        (APPLICATIONS, (f"Authorization: Bearer {session}",)),
        (APPLICATIONS, (f"Cookie: GATEWAY_SESSION={session}",)),
        (APPLICATIONS, (f"Cookie: a=1,gateway_session={session}",)),
        (APPLICATIONS, (f"Cookie: \xc2\xa0gateway_session={session}",)),
        (APPLICATIONS, (f"Cookie: \xe2\x80\x80gateway_session={session}",)),
        # Which of two is the user's own, and which one was planted, cannot be told.
        (APPLICATIONS, (f"Cookie: gateway_session={session}; gateway_session={'p' * 43}",)),
        (APPLICATIONS, (f"Cookie: gateway_session={'p' * 43}; gateway_session={session}",)),
    ):
        assert request(gateway.port, target, *headers).status == 302, (target, headers)
    assert request(gateway.port, APPLICATIONS, f"Cookie: gateway_session={session}").status == 200


# --- The form


@pytest.mark.parametrize("target", ["", ASKED])
def test_nobody_is_signed_in_by_a_foreign_page(gateway: RunningGateway, target: str) -> None:
    """Signing a victim in as the attacker is an attack as well (RFC 9700 §4.7.1)."""
    attacker, victim = Browser(gateway.url), Browser(gateway.url)
    form = form_of(attacker.get(f"{SIGN_IN}?{urlencode({'next': target})}"))
    fields = {**form.fields, "username": "demo", "password": PASSWORD}
    without_cookie = victim.post(SIGN_IN, fields)
    with_its_own = victim.post(SIGN_IN, fields)
    for answer in (without_cookie, with_its_own):
        assert answer.status_code == 403
        assert "Location" not in answer.headers
    assert not is_signed_in(victim)


def test_the_proof_of_one_target_is_none_for_another(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    fields = form_of(browser.get(SIGN_IN)).fields
    credentials = {"username": "demo", "password": PASSWORD, "next": ASKED}
    assert browser.post(SIGN_IN, {**fields, **credentials}).status_code == 403


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("demo", ""),
        ("demo", "wrong"),
        ("demo", PASSWORD.upper()),
        ("demo", PASSWORD + " "),
        ("Demo", PASSWORD),
        ("demo ", PASSWORD),
        ("demo\x00", PASSWORD),
        ("", PASSWORD),
        ("*", "*"),
        ("zoe\u0308", PASSWORD),
        ("d" * 5000, PASSWORD),
    ],
)
def test_a_wrong_name_or_password_are_told_apart_by_nothing(
    standalone: RunningGateway, name: str, password: str
) -> None:
    browser = Browser(standalone.url)
    answer = browser.sign_in(name, password)
    assert answer.status_code == 401
    assert "The user name or the password is wrong." in answer.text
    assert form_of(answer).fields["password"] == ""
    assert not is_signed_in(browser)


def test_a_user_name_is_shown_again_as_text(gateway: RunningGateway) -> None:
    name = "\"><script>alert('1')</script>"
    answer = Browser(gateway.url).sign_in(name, WRONG)
    assert "<script" not in answer.text
    assert form_of(answer).fields["username"] == name


def test_a_sign_in_in_the_query_is_none(gateway: RunningGateway) -> None:
    browser = Browser(gateway.url)
    fields = form_of(browser.get(SIGN_IN)).fields
    query = urlencode({**fields, "username": "demo", "password": PASSWORD})
    assert browser.get(f"{SIGN_IN}?{query}").status_code == 200
    assert browser.post(f"{SIGN_IN}?{query}", {}).status_code in {400, 403}
    assert not is_signed_in(browser)


def test_redirects_after_a_post_are_303(gateway: RunningGateway) -> None:
    """RFC 9700 §4.12: a 307 would send the password on."""
    browser = Browser(gateway.url)
    asked = authorization(client_id="native", redirect_uri="http://127.0.0.1:1/cb")
    signed_in = browser.sign_in(target=f"{AUTHORIZE}?{urlencode(asked)}")
    page = browser.get(signed_in.headers["Location"])
    fields = form_of(page).fields
    bad_scope = browser.post(AUTHORIZE, {**fields, "scope": "admin", "decision": "allow"})
    denied = browser.decide(page, "deny")
    form = form_of(browser.get(APPLICATIONS))
    applications = browser.post(
        APPLICATIONS, {"csrf_token": form.fields.get("csrf_token", ""), "grant_id": "x"}
    )
    leave = form_of(browser.get(f"{SIGN_OUT}?next={APPLICATIONS}"))
    signed_out = browser.post(leave.action, leave.fields)
    again = browser.post(AUTHORIZE, {**fields, "decision": "allow"})
    redirects = [signed_in, bad_scope, denied, signed_out, again]
    assert [answer.status_code for answer in redirects] == [303] * 5
    assert applications.status_code in {303, 403}


# --- The applications that have access


def test_access_is_taken_back_by_its_user_and_by_nobody_else(gateway: RunningGateway) -> None:
    owner, other = Browser(gateway.url), Browser(gateway.url)
    owner.sign_in()
    other.sign_in("zoë")
    client = Client(gateway.url)
    token = client.redeem(owner.code()).json()["access_token"]
    others_token = client.redeem(other.code()).json()["access_token"]
    grant_id, others_grant_id = token[4:24], others_token[4:24]
    proof = form_of(owner.get(APPLICATIONS)).fields["csrf_token"]
    others_proof = form_of(other.get(APPLICATIONS)).fields["csrf_token"]

    # Another user; another's proof; none.
    other.post(APPLICATIONS, {"csrf_token": others_proof, "grant_id": grant_id})
    for bad in (others_proof, "", "x"):
        refused = owner.post(APPLICATIONS, {"csrf_token": bad, "grant_id": grant_id})
        assert refused.status_code == 403
    nobody = Browser(gateway.url).post(APPLICATIONS, {"csrf_token": proof, "grant_id": grant_id})
    assert nobody.status_code == 303
    assert owner.get(f"{APPLICATIONS}?csrf_token={proof}&grant_id={grant_id}").status_code == 200
    assert client.get("/private", token).status_code == 200

    taken = owner.post(APPLICATIONS, {"csrf_token": proof, "grant_id": grant_id})
    assert (taken.status_code, taken.headers["Location"]) == (303, APPLICATIONS)
    assert client.get("/private", token).status_code == 401
    assert client.get("/private", others_token).status_code == 200
    assert others_grant_id not in owner.get(APPLICATIONS).text


# --- What the time tells


def test_an_unknown_name_takes_as_long_as_a_wrong_password(standalone: RunningGateway) -> None:
    browser = Browser(standalone.url)

    def seconds(name: str) -> float:
        fields = {**form_of(browser.get(SIGN_IN)).fields, "username": name, "password": "wrong"}
        started = perf_counter()
        assert browser.post(SIGN_IN, fields).status_code == 401
        return perf_counter() - started

    pairs = [(seconds("nobody"), seconds("demo")) for _ in range(4)]
    unknown, known = map(min, zip(*pairs, strict=True))
    # Without a hash to compare it is a thirtieth; a busy machine adds what it will.
    assert 0.2 < unknown / known < 5


# --- Under https


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway whose issuer is https; TLS ends before it."""
    issuer = (('issuer = "http://127.0.0.1:', 'issuer = "https://gateway.example:'),)
    folder = tmp_path_factory.mktemp("https")
    with running_gateway("standalone", folder, replace=issuer) as running:
        yield running


def test_under_https_the_cookie_is_pinned_to_the_host(https: RunningGateway) -> None:
    """RFC 6265bis §4.1.3.2."""
    page = request(https.port, SIGN_IN)
    [cookie] = page.values("Set-Cookie")
    pair, *attributes = cookie.split("; ")
    assert pair.startswith("__Host-gateway_session=")
    assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]

    csrf_token = re.findall(rb'name="csrf_token" value="([^"]+)"', page.body)[0].decode()
    fields = {"username": "demo", "password": PASSWORD, "csrf_token": csrf_token, "next": ""}
    target, content_type, body = post_form(SIGN_IN, fields)
    signed_in = request(
        https.port, target, content_type, f"Cookie: {pair}", method="POST", body=body
    )
    assert signed_in.status == 303
    session = signed_in.values("Set-Cookie")[0].partition(";")[0].partition("=")[2]

    def status(cookie: str) -> int:
        return request(https.port, APPLICATIONS, f"Cookie: {cookie}").status

    assert status(f"__Host-gateway_session={session}") == 200
    # What another host of the same site can set is not taken for it.
    for tossed in (
        f"gateway_session={session}",
        f"__host-gateway_session={session}",
        f"__Secure-gateway_session={session}",
        f"\xe2\x80\x80__Host-gateway_session={session}",
        f"\xc2\xa0__Host-gateway_session={session}",
        f"\xc2\x85__Host-gateway_session={session}",
        f"=__Host-gateway_session={session}",
        f"x=__Host-gateway_session={session}",
        f'"__Host-gateway_session"={session}',
        f"$Version=1; $Path=/; x,__Host-gateway_session={session}",
    ):
        assert status(tossed) == 302, tossed
    assert request(https.port, "/public/x", f"Cookie: {pair}; a=1").json()["headers"][1] == [
        "Cookie",
        "a=1",
    ]


def test_under_https_nothing_says_http(https: RunningGateway) -> None:
    document = request(https.port, "/.well-known/oauth-authorization-server").body
    assert b"http://" not in document
    challenge = request(https.port, "/private").values("WWW-Authenticate")[0]
    assert 'realm="https://gateway.example:' in challenge


# --- Users that a proxy knows


@pytest.fixture(scope="module")
def remote_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that is told of the user by a trusted proxy."""
    folder = tmp_path_factory.mktemp("remote")
    with running_gateway(
        "standalone",
        folder,
        replace=(('method = "password"', 'method = "remote_user"'),),
        extra='\n[sign_in.remote_user]\nheader = "X-Remote-User"\n',
    ) as running:
        yield running


def asks(gateway: RunningGateway, *headers: str, source: str = TRUSTED_PROXY) -> RawResponse:
    return request(gateway.port, ASKED, *headers, source=source)


def test_a_trusted_proxy_names_the_user(remote_user: RunningGateway) -> None:
    page = asks(remote_user, "X-Remote-User: zo\xc3\xab")
    assert page.status == 200
    assert "zoë" in page.body.decode()
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.body.decode()))
    fields = {name: value.replace("&#43;", "+") for name, value in fields.items()}
    target, content_type, body = post_form(AUTHORIZE, {**fields, "decision": "allow"})
    cookie = page.values("Set-Cookie")[0].partition(";")[0]

    def allow(user: str) -> RawResponse:
        lines = (content_type, f"Cookie: {cookie}", f"X-Remote-User: {user}")
        return request(
            remote_user.port, target, *lines, method="POST", body=body, source=TRUSTED_PROXY
        )

    # The page was shown to one user; in the same browser, it does not answer for the next.
    assert allow("admin").status == 403
    allowed = allow("zo\xc3\xab")
    assert allowed.status == 303
    code = parse_qs(urlsplit(allowed.values("Location")[0]).query)["code"][0]
    client = Client(remote_user.url, "two-uris", redirect_uri="com.example.two:/cb")
    token = client.redeem(code).json()["access_token"]
    echoed = client.get("/private", token, headers={"X-Remote-User": "admin"}).json()
    assert headers_of(echoed, "X-Forwarded-User")[0].encode("latin-1").decode() == "zoë"
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize(
    "header",
    [
        "X-Remote-User: admin",
        "X_Remote_User: admin",
        "X-Remote.User: admin",
        "Remote-User: admin",
        "REMOTE_USER: admin",
        "X-Forwarded-User: admin",
    ],
)
def test_nobody_else_names_the_user(remote_user: RunningGateway, header: str) -> None:
    forged = ("X-Forwarded-For: 127.0.0.2", header)
    assert asks(remote_user, *forged, source="127.0.0.1").status == 403
    if not header.startswith("X-Remote-User"):
        assert asks(remote_user, header).status == 403


@pytest.mark.parametrize("source", ["127.0.0.1", TRUSTED_PROXY])
@pytest.mark.parametrize("spelling", ["X-Remote-User", "x-remote_user", "X-Remote.User"])
def test_the_backend_is_not_told_by_that_header(
    remote_user: RunningGateway, spelling: str, source: str
) -> None:
    echoed = request(remote_user.port, "/public/x", f"{spelling}: admin", source=source).json()
    assert "admin" not in json.dumps(echoed)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "adm\xe2\x80\x8bin",  # zero width space
        "admin\xc2\xa0",  # no-break space
        "\xe2\x80\x83admin",  # em space
        "admin\xe2\x80\xae",  # right-to-left override
        "admin\xc2\x85",  # next line
    ],
)
def test_a_name_that_looks_like_anothers_is_nobodys(remote_user: RunningGateway, name: str) -> None:
    """Told to the backend in a header, it would become that other name."""
    assert asks(remote_user, f"X-Remote-User: {name}").status == 403


def test_names_that_are_not_utf_8_stay_apart(remote_user: RunningGateway) -> None:
    pages = [asks(remote_user, f"X-Remote-User: {byte}ric").body for byte in ("\xe9", "\xe8")]
    assert ["éric" in page.decode() for page in pages] == [True, False]


def test_there_is_no_password_to_try_where_a_proxy_knows_the_user(
    remote_user: RunningGateway,
) -> None:
    for target in (SIGN_IN, SIGN_OUT):
        assert request(remote_user.port, target).status == 404
        target_, content_type, body = post_form(
            target, {"username": "demo", "password": PASSWORD, "next": "/oauth/applications"}
        )
        answer = request(remote_user.port, target_, content_type, method="POST", body=body)
        assert (answer.status, answer.values("Set-Cookie")) == (404, [])


@pytest.fixture(scope="module")
def server_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A wrapped gateway that believes the WSGI server's REMOTE_USER."""
    method = (('method = "password"', 'method = "remote_user"'),)
    with running_gateway("wrapped", tmp_path_factory.mktemp("server"), replace=method) as running:
        yield running


@pytest.mark.parametrize("name", ["REMOTE_USER", "Remote-User", "X-Remote-User", "Remote.User"])
@pytest.mark.parametrize("source", ["127.0.0.1", TRUSTED_PROXY])
def test_no_header_is_taken_for_the_servers_own_word(
    server_user: RunningGateway, name: str, source: str
) -> None:
    assert asks(server_user, f"{name}: admin", source=source).status == 403


# --- Users that the backend knows


@pytest.fixture(scope="module", params=["wrapped", "standalone"])
def upstream_session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Recorded]:
    """A gateway that asks the backend whose its cookie is."""
    folder = tmp_path_factory.mktemp(f"upstream-{request.param}")
    method = (('method = "password"', 'method = "upstream_session"'),)
    with recorded_gateway(request.param, folder, replace=method) as running:
        yield running


def known_to_the_backend(recorded: Recorded, answer: object, status: int = 200) -> Browser:
    """Return a browser about whose cookie the backend gives this answer."""
    browser = Browser(recorded.gateway.url)
    name, _, value = session_cookie(answer, status).partition("=")
    browser.session.cookies.set(name, value, domain="127.0.0.1", path="/")
    return browser


def test_the_backends_own_user_confirms(upstream_session: Recorded) -> None:
    gateway = upstream_session.gateway
    ann = known_to_the_backend(upstream_session, {"message": "ann@example.com"})
    page = ann.get(ASKED)
    assert "ann@example.com" in page.text
    upstream_session.reached()
    allowed = ann.decide(page)
    client = Client(gateway.url, "two-uris", redirect_uri="com.example.two:/cb")
    token = client.redeem(answer_of(allowed)["code"]).json()["access_token"]
    echoed = client.get("/private", token).json()
    assert headers_of(echoed, "X-Forwarded-User") == ["ann@example.com"]
    asked = upstream_session.reached()[0]
    assert (asked.method, asked.target) == ("GET", WHO)
    cookies = dict(asked.headers)["Cookie"]
    assert "gateway_session" not in cookies
    assert cookies.startswith("sid=")


def test_a_page_shown_to_one_user_of_the_backend_does_not_answer_for_another(
    upstream_session: Recorded,
) -> None:
    browser = known_to_the_backend(upstream_session, {"message": "cyd@example.com"})
    fields = {**form_of(browser.get(ASKED)).fields, "decision": "allow"}
    name, _, value = session_cookie({"message": "bob@example.com"}).partition("=")
    browser.session.cookies.set(name, value, domain="127.0.0.1", path="/")
    answer = browser.post(AUTHORIZE, fields)
    assert answer.status_code == 403
    assert "Location" not in answer.headers


NOBODY = [
    ({"message": "Guest"}, 200),
    ({"message": ""}, 200),
    ({"message": None}, 200),
    ({"message": ["ann"]}, 200),
    ({"message": {"name": "ann"}}, 200),
    ({"message": 1}, 200),
    ({"user": "ann"}, 200),
    ({"message": "ann"}, 401),
    ({"message": "ann"}, 403),
    ({"message": " ann"}, 200),
    ({"message": "ann\n"}, 200),
    ({"message": "a\u200bnn"}, 200),
    ({"message": "ann\x00"}, 200),
    ({"message": "ann\ud800"}, 200),
    ({"message": "ann\r\nX-Forwarded-Scope: admin"}, 200),
]


@pytest.mark.parametrize(("answer", "status"), NOBODY)
def test_who_is_nobody_to_the_backend_is_sent_to_its_sign_in(
    upstream_session: Recorded, answer: object, status: int
) -> None:
    sent = known_to_the_backend(upstream_session, answer, status).get(ASKED)
    assert sent.status_code == 302
    assert sent.headers["Location"].startswith("/login?redirect-to=%2Foauth%2Fauthorize%3F")
    assert urlsplit(sent.headers["Location"]).query.count("&") == 0


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ([], 200),
        ("ann", 200),
        (None, 200),
        ({"message": "ann"}, 500),
        ({"message": "ann"}, 302),
        ({"message": "ann"}, 404),
        ({"message": "ann"}, 201),
    ],
)
def test_an_answer_that_is_none_is_an_error_and_nobody(
    upstream_session: Recorded, answer: object, status: int
) -> None:
    page = known_to_the_backend(upstream_session, answer, status).get(ASKED)
    assert page.status_code == 503
    assert "Location" not in page.headers


def test_without_a_cookie_the_backend_is_not_even_asked(upstream_session: Recorded) -> None:
    upstream_session.reached()
    browser = Browser(upstream_session.gateway.url)
    browser.session.cookies.set("gateway_session", "s" * 43, domain="127.0.0.1", path="/")
    for headers in ({}, {"Authorization": "Bearer x"}, {"X-Forwarded-User": "ann"}):
        assert browser.get(ASKED, headers=headers).status_code == 302
    assert upstream_session.reached() == []


def test_the_question_of_whose_a_cookie_is_bears_nothing_else_of_the_client(
    upstream_session: Recorded,
) -> None:
    browser = known_to_the_backend(upstream_session, {"message": "dan@example.com"})
    upstream_session.reached()
    forged = {"Authorization": "Bearer x", "X-Forwarded-User": "admin", "X-Original-URL": "/x"}
    assert browser.get(ASKED, headers=forged).status_code == 200
    [asked] = upstream_session.reached()
    assert not {"Authorization", "X-Forwarded-User", "X-Original-Url"} & dict(asked.headers).keys()


def test_there_is_no_password_to_try_where_the_backend_knows_the_user(
    upstream_session: Recorded,
) -> None:
    url = upstream_session.gateway.url
    credentials = {"username": "demo", "password": PASSWORD}
    for target in (SIGN_IN, SIGN_OUT):
        assert requests.get(url + target, timeout=5).status_code == 404
        posted = requests.post(url + target, credentials, timeout=5)
        assert (posted.status_code, "Set-Cookie" in posted.headers) == (404, False)


def test_signing_in_at_the_backend_gives_no_token_by_itself(upstream_session: Recorded) -> None:
    browser = known_to_the_backend(upstream_session, {"message": "ann@example.com"})
    assert browser.get("/private").status_code == 401
    assert browser.get(f"{AUTHORIZE}?client_id=my-app&response_type=code").status_code == 200
    assert REDIRECT_URI.startswith("http://localhost")
