"""The gateway's pages in Chromium, as people meet them: seen, typed into, clicked, gone back.

Every page that is opened here must keep quiet: one word in the console, of an error or of a
policy that was broken, fails the test, unless it says what it expects.
"""

from __future__ import annotations

import shutil
import socket
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.oauth_client import Client
from tests.support.running_gateway import PASSWORD, SERVICE_SECRET, RunningGateway, running_gateway

_CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="there is no Chromium on PATH")

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_CLIENTS = 30
_LONG_WORD = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"


# --- Where the browser comes back to


class _ApplicationPages(BaseHTTPRequestHandler):
    """Answers any path with a page.

    ``/frame?`` and a URL, with a page that frames that URL; ``/onward?port=`` and more, with a
    redirect to that port of 127.0.0.1, which is another site.
    """

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/onward":
            port = dict(parse_qsl(parts.query))["port"]
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{port}/landed?{parts.query}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        framed = f'<iframe src="{parts.query}"></iframe>' if parts.path == "/frame" else ""
        content = (
            "<!doctype html><html lang=en><title>The application</title>"
            f"<link rel=icon href='data:,'><h1>Back at the application</h1>{framed}"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Stay silent."""


class _OnIPv6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def _serving(server: ThreadingHTTPServer) -> Iterator[int]:
    server.daemon_threads = True
    with server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


@pytest.fixture(scope="module")
def application_port() -> Iterator[int]:
    yield from _serving(ThreadingHTTPServer(("127.0.0.1", 0), _ApplicationPages))


@pytest.fixture(scope="module")
def third_port() -> Iterator[int]:
    """Where an application sends the browser on to."""
    yield from _serving(ThreadingHTTPServer(("127.0.0.1", 0), _ApplicationPages))


# --- The gateway, its applications, and the browser


@pytest.fixture(scope="module")
def gateway(
    application_port: int, third_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    """A gateway with applications that come back to the server of this test."""
    clients = "".join(
        f"""
[[clients]]
client_id = "app-{number}"
name = "Application {number}"
redirect_uris = [
    "http://localhost:{application_port}/callback",
    "http://localhost:{application_port}/onward?port={third_port}",
    "http://127.0.0.1/callback",
    "http://[::1]/callback",
    "com.example.app:/callback",
]
scopes = ["project", "profile"]
pkce = "optional"
"""
        for number in range(_CLIENTS)
    )
    wide = f"""
[[clients]]
client_id = "{"long-" * 20}"
name = "{_LONG_WORD} {"W" * 150}"
redirect_uris = ["https://{"long-name." * 12}example/callback"]
scopes = ["project", "profile", "wide"]
pkce = "optional"
"""
    with running_gateway(
        "standalone",
        tmp_path_factory.mktemp("browser"),
        replace=(("[scopes]\n", f'[scopes]\nwide = "{_LONG_WORD * 3}"\n'),),
        extra=clients + wide,
    ) as started:
        yield started


@dataclass(frozen=True)
class Application:
    """A registered application; nobody has allowed it anything yet."""

    gateway: RunningGateway
    client_id: str
    name: str
    redirect_uri: str

    @property
    def request(self) -> str:
        """The authorization request, as a URL."""
        return f"{self.gateway.url}{self.target}"

    @property
    def target(self) -> str:
        parameters = {
            "client_id": self.client_id,
            "response_type": "code",
            "redirect_uri": self.redirect_uri,
            "scope": "project",
            "state": "s t&a+te",
        }
        return f"/oauth/authorize?{urlencode(parameters)}"

    def answer(self, page: Page) -> dict[str, str]:
        """Wait until the browser is back, and return what it brings."""
        page.wait_for_url(f"{self.redirect_uri}?*")
        expect(page.get_by_role("heading")).to_have_text("Back at the application")
        return dict(parse_qsl(urlsplit(page.url).query))

    def tokens(self, code: str) -> dict[str, Any]:
        client = Client(self.gateway.url, self.client_id, redirect_uri=self.redirect_uri)
        answer = client.redeem(code)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens


_numbers = count()


@pytest.fixture
def application(gateway: RunningGateway, application_port: int) -> Application:
    return _application(gateway, application_port)


@pytest.fixture
def other_application(gateway: RunningGateway, application_port: int) -> Application:
    return _application(gateway, application_port)


def _application(gateway: RunningGateway, port: int) -> Application:
    number = next(_numbers)
    assert number < _CLIENTS, "register more applications"
    uri = f"http://localhost:{port}/callback"
    return Application(gateway, f"app-{number}", f"Application {number}", uri)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Tabs:
    """Opens tabs, each in a profile of its own, and listens to what they complain about."""

    chromium: Browser
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def open(self, **options: Any) -> Page:
        context = self.chromium.new_context(**options)
        context.set_default_timeout(15_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self._hear("error", str(error)))
        return page

    def _hear(self, kind: str, text: str) -> None:
        if kind in {"error", "warning"}:
            self.complaints.append(text)

    def expect_complaint(self, *words: str) -> None:
        """Take one complaint, and only one, with these words out of the list."""
        (complaint,) = self.complaints
        assert all(word in complaint for word in words), complaint
        self.complaints.clear()


@pytest.fixture
def tabs(chromium: Browser) -> Iterator[Tabs]:
    opened = Tabs(chromium)
    yield opened
    for context in opened.contexts:
        context.close()
    assert opened.complaints == []


def sign_in(page: Page, name: str = "demo", password: str = PASSWORD) -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def decide(page: Page, decision: str) -> None:
    page.get_by_role("button", name=decision, exact=True).click()


def heading(page: Page) -> Any:
    """Return an assertion about the page's heading that waits for the page."""
    return expect(page.get_by_role("heading", level=1))


def status_of(application: Application, access_token: str) -> int:
    """Return how a request with this token is answered."""
    client = Client(application.gateway.url)
    return int(client.get("/resource", access_token).status_code)


# --- There and back


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
def test_somebody_signs_in_and_allows_and_the_application_has_its_tokens(
    tabs: Tabs, application: Application, scripts: bool
) -> None:
    page = tabs.open(java_script_enabled=scripts)
    page.goto(application.request)
    heading(page).to_have_text("Sign in")
    expect(page.locator("main")).to_contain_text(application.name)
    sign_in(page)
    heading(page).to_have_text("Allow access to your account?")
    for words in (application.name, "Demo User", "See and change your projects", "localhost:"):
        expect(page.locator("main")).to_contain_text(words)
    decide(page, "Allow")

    answer = application.answer(page)
    assert answer["state"] == "s t&a+te"
    assert status_of(application, application.tokens(answer["code"])["access_token"]) == 200


def test_somebody_denies_and_the_application_is_told(tabs: Tabs, application: Application) -> None:
    page = tabs.open()
    page.goto(application.request)
    sign_in(page)
    decide(page, "Deny")
    answer = application.answer(page)
    assert (answer["error"], answer["state"]) == ("access_denied", "s t&a+te")
    assert "code" not in answer


def test_a_remembered_consent_leads_straight_from_the_sign_in_to_the_application(
    tabs: Tabs, application: Application
) -> None:
    """The sign-in form's own policy must admit the redirects that follow its POST."""
    first = tabs.open()
    first.goto(application.request)
    sign_in(first)
    decide(first, "Allow")
    application.answer(first)
    # Signed in already: not a page between.
    first.goto(application.request)
    assert "code" in application.answer(first)

    second = tabs.open(java_script_enabled=False)
    second.goto(application.request)
    sign_in(second)
    assert "code" in application.answer(second)


@pytest.fixture
def going_on(application: Application, application_port: int, third_port: int) -> Application:
    """An application whose callback redirects to another site, as those behind a hub do."""
    uri = f"http://localhost:{application_port}/onward?port={third_port}"
    return replace(application, redirect_uri=uri)


def landed(page: Page, port: int) -> dict[str, str]:
    """Wait until the browser is where the application sent it, and return what it brings."""
    page.wait_for_url(f"http://127.0.0.1:{port}/landed?*")
    expect(page.get_by_role("heading")).to_have_text("Back at the application")
    return dict(parse_qsl(urlsplit(page.url).query))


def test_an_application_may_send_the_browser_on_to_another_site(
    tabs: Tabs, going_on: Application, third_port: int
) -> None:
    """After Deny, after Allow, and from the sign-in form where consent is remembered.

    A browser applies a form's policy to every redirect that follows, not to the first alone.
    """
    page = tabs.open()
    page.goto(going_on.request)
    sign_in(page)
    decide(page, "Deny")
    answer = landed(page, third_port)
    assert (answer["error"], answer["state"]) == ("access_denied", "s t&a+te")

    page.goto(going_on.request)
    decide(page, "Allow")
    assert "code" in landed(page, third_port)

    again = tabs.open()
    again.goto(going_on.request)
    sign_in(again)
    answer = landed(again, third_port)
    assert going_on.tokens(answer["code"])["token_type"] == "Bearer"


_FETCH = """async ([url, authorization]) => {
    const answer = await fetch(url, {
        method: "POST",
        headers: {Authorization: authorization},
        body: new URLSearchParams({grant_type: "client_credentials"}),
    });
    return [answer.status, answer.headers.get("WWW-Authenticate"), await answer.json()];
}"""


def test_a_script_of_another_origin_may_authenticate_at_the_token_endpoint(
    tabs: Tabs, gateway: RunningGateway, application_port: int
) -> None:
    """The header makes the browser send a preflight, and it reads the answers, errors too."""

    def fetched(secret: str) -> Any:
        basic = b64encode(f"service:{secret}".encode()).decode()
        return page.evaluate(_FETCH, [f"{gateway.url}/oauth/token", f"Basic {basic}"])

    page = tabs.open()
    page.goto(f"http://localhost:{application_port}/")
    status, _, tokens = fetched(SERVICE_SECRET)
    assert (status, tokens["token_type"]) == (200, "Bearer")
    status, challenge, refused = fetched("wrong")
    assert (status, refused["error"]) == (401, "invalid_client")
    assert challenge.startswith("Basic ")
    tabs.expect_complaint("status of 401")


def test_a_wrong_password_is_said_and_the_right_one_goes_on(
    tabs: Tabs, application: Application
) -> None:
    """Here too straight to an application that was allowed before."""
    page = tabs.open()
    page.goto(application.request)
    sign_in(page)
    decide(page, "Allow")
    application.answer(page)
    page.context.clear_cookies()

    page.goto(application.request)
    sign_in(page, password="wrong")
    expect(page.get_by_role("alert")).to_have_text("The user name or the password is wrong.")
    tabs.expect_complaint("status of 401")
    expect(page.locator("main")).to_contain_text(application.name)
    expect(page.get_by_label("User name")).to_have_value("demo")
    expect(page.get_by_label("Password")).to_have_value("")
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    assert "code" in application.answer(page)


def test_the_policy_lets_go_to_an_ipv6_loopback_address(
    tabs: Tabs, application: Application
) -> None:
    """Content-Security-Policy cannot write ``[::1]``, which RFC 8252 §7.3 allows."""
    try:
        server = _OnIPv6(("::1", 0), _ApplicationPages)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address")
    for port in _serving(server):
        native = replace(application, redirect_uri=f"http://[::1]:{port}/callback")
        page = tabs.open()
        page.goto(native.request)
        sign_in(page)
        decide(page, "Allow")
        assert "code" in native.answer(page)


def test_the_policy_lets_go_to_a_native_application(tabs: Tabs, application: Application) -> None:
    """There is none here to open: the browser gets as far as the attempt."""
    native = replace(application, redirect_uri="com.example.app:/callback")
    page = tabs.open()
    page.goto(native.request)
    sign_in(page)
    with page.expect_request(f"{native.redirect_uri}?*") as attempt:
        decide(page, "Allow")
    assert "code=" in attempt.value.url


def test_nothing_but_the_keyboard_is_needed(tabs: Tabs, application: Application) -> None:
    page = tabs.open()
    page.goto(application.request)
    expect(page.get_by_label("User name")).to_be_focused()
    page.keyboard.type("demo")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    heading(page).to_have_text("Allow access to your account?")

    reached = []
    for _ in range(3):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        reached.append(focused.inner_text())
        assert focused.evaluate("it => getComputedStyle(it).outlineStyle") == "solid"
    assert reached == ["Not you? Sign out", "Deny", "Allow"]
    page.keyboard.press("Space")
    assert "code" in application.answer(page)


# --- The session's end, and a grant's


def test_somebody_else_signs_in_from_the_confirmation_page(
    tabs: Tabs, application: Application
) -> None:
    page = tabs.open()
    page.goto(application.request)
    sign_in(page)
    page.get_by_role("link", name="Not you? Sign out").click()
    heading(page).to_have_text("Sign out?")
    page.get_by_role("button", name="Sign out").click()
    heading(page).to_have_text("Sign in")
    expect(page.locator("main")).to_contain_text(application.name)
    sign_in(page, "zoë")
    heading(page).to_have_text("Allow access to your account?")
    expect(page.locator("main")).to_contain_text("Zoë Čapek")
    decide(page, "Allow")
    assert "code" in application.answer(page)


def test_signing_out_ends_the_session_also_for_who_kept_its_cookie(
    tabs: Tabs, gateway: RunningGateway
) -> None:
    page = tabs.open()
    page.goto(f"{gateway.url}/oauth/applications")
    sign_in(page)
    heading(page).to_have_text("Applications with access")
    (cookie,) = page.context.cookies()
    kept = {cookie["name"]: cookie["value"]}
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    assert page.evaluate("document.cookie") == ""

    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    heading(page).to_have_text("You are signed out")
    assert page.context.cookies() == []
    page.goto(f"{gateway.url}/oauth/applications")
    heading(page).to_have_text("Sign in")
    answer = requests.get(
        f"{gateway.url}/oauth/applications", cookies=kept, allow_redirects=False, timeout=10
    )
    assert answer.status_code == 302


def test_access_is_taken_back_and_the_tokens_die(
    tabs: Tabs, application: Application, other_application: Application
) -> None:
    page = tabs.open(java_script_enabled=False)
    tokens: list[dict[str, Any]] = []
    for each in (application, other_application):
        page.goto(each.request)
        if not tokens:
            sign_in(page)
        decide(page, "Allow")
        tokens.append(each.tokens(each.answer(page)["code"]))
    taken, kept = (each["access_token"] for each in tokens)
    assert status_of(application, taken) == 200

    page.goto(f"{application.gateway.url}/oauth/applications")
    entry = page.get_by_role("listitem").filter(
        has=page.get_by_role("heading", name=application.name, exact=True)
    )
    entry.get_by_role("button", name="Take back access").click()
    expect(entry).to_have_count(0)
    expect(page.get_by_role("heading", name=other_application.name, exact=True)).to_be_visible()
    assert status_of(application, taken) == 401
    assert status_of(application, kept) == 200

    # Its confirmation is forgotten with it.
    page.goto(application.request)
    heading(page).to_have_text("Allow access to your account?")


# --- What strangers try


@pytest.mark.parametrize("signed_in", [False, True], ids=["sign-in", "confirmation"])
def test_a_page_in_somebody_elses_frame_is_refused(
    tabs: Tabs, application: Application, application_port: int, signed_in: bool
) -> None:
    page = tabs.open()
    if signed_in:
        page.goto(application.request)
        sign_in(page)
        heading(page).to_have_text("Allow access to your account?")
    # The same host as the gateway's, so that its cookie goes along with the frame.
    page.goto(f"http://127.0.0.1:{application_port}/frame?{application.request}")
    (frame,) = page.main_frame.child_frames
    expect(frame.locator("body")).to_be_attached()
    assert frame.locator("form").count() == 0
    assert frame.url == "chrome-error://chromewebdata/"
    tabs.expect_complaint("frame-ancestors 'none'")


def test_a_link_that_does_not_work_says_so_and_goes_nowhere(
    tabs: Tabs, gateway: RunningGateway
) -> None:
    page = tabs.open()
    page.goto(f"{gateway.url}/oauth/authorize?client_id={quote('<b>nobody</b>')}")
    heading(page).to_have_text("This link does not work")
    assert page.locator("b").count() == 0
    tabs.expect_complaint("status of 400")


# --- How the pages look


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (390, "light"), (1280, "light")])
def test_no_page_is_wider_than_its_window(
    tabs: Tabs, gateway: RunningGateway, width: int, scheme: Any
) -> None:
    """With names and addresses as long as a stranger likes, each in one word."""
    page = tabs.open(
        viewport={"width": width, "height": 640}, color_scheme=scheme, is_mobile=width < 500
    )
    wide = Application(
        gateway, "long-" * 20, "", f"https://{'long-name.' * 12}example/callback"
    ).request.replace("scope=project", "scope=project+profile+wide")

    def fits(words: str) -> None:
        heading(page).to_have_text(words)
        scrolled, shown, background = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth,"
            " getComputedStyle(document.body).backgroundColor]"
        )
        assert (scrolled, shown) == (width, width), words
        red, _, _ = (int(part) for part in background[4:-1].split(","))
        assert (red < 64) == (scheme == "dark")

    page.goto(wide)
    fits("Sign in")
    sign_in(page, "W" * 200, "wrong")
    expect(page.get_by_role("alert")).to_be_visible()
    fits("Sign in")
    tabs.expect_complaint("status of 401")
    sign_in(page)
    fits("Allow access to your account?")
    page.get_by_role("link", name="Sign out").click()
    fits("Sign out?")
    page.goto(f"{gateway.url}/oauth/applications")
    fits("Applications with access")
    page.goto(f"{gateway.url}/oauth/authorize?client_id={'x' * 200}")
    fits("This link does not work")
    tabs.expect_complaint("status of 400")
