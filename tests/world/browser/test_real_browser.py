"""The gateway's pages in Chromium, as people meet them: seen, typed into, clicked, gone back.

Every page that is opened here must keep quiet: one word in the console, of an error or of a
policy that was broken, fails the test, unless it says what it expects.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.support.running_gateway import PASSWORD, SERVICE_SECRET, RunningGateway
from tests.world.browser.chromium import (
    CHROMIUM,
    Application,
    ApplicationPages,
    OnIPv6,
    Tabs,
    decide,
    heading,
    serving,
    sign_in,
    status_of,
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on PATH")


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
        server = OnIPv6(("::1", 0), ApplicationPages)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address")
    for port in serving(server):
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
    cookies = page.context.cookies()
    assert {(each["httpOnly"], each["sameSite"]) for each in cookies} == {(True, "Lax")}
    kept = {each["name"]: each["value"] for each in cookies}
    assert page.evaluate("document.cookie") == ""

    page.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out").click()
    heading(page).to_have_text("You are signed out")
    # What is left names no session: the browser itself, and who has signed in from it.
    assert {each["name"] for each in page.context.cookies()} == {
        "gateway_session_browser",
        "gateway_session_known",
    }
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
    tabs.expect_complaints("frame-ancestors 'none'", "status of 403")


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
