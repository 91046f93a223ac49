"""Chromium, its tabs, and the pages that it comes back to."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.support.oauth_client import Client
from tests.support.running_gateway import PASSWORD, RunningGateway

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class ApplicationPages(BaseHTTPRequestHandler):
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


class OnIPv6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def serving(server: ThreadingHTTPServer) -> Iterator[int]:
    server.daemon_threads = True
    with server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


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

    def expect_complaints(self, *each: str) -> None:
        """Take as many complaints out of the list, each with its word, in any order."""
        assert len(self.complaints) == len(each)
        assert all(any(word in complaint for complaint in self.complaints) for word in each)
        self.complaints.clear()


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
