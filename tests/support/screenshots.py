"""Takes the documentation's pictures of the pages: ``make screenshots``.

Runs the demo, and goes through it in Chromium as a newcomer would.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from tests.support.oauth_client import Client
from tests.support.processes import ROOT, end, free_port, python_module, wait_until_ready

_WINDOW: ViewportSize = {"width": 900, "height": 480}
_PHONE: ViewportSize = {"width": 390, "height": 780}


def main(folder: Path) -> None:
    """Write the pictures to ``folder``."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("there is no Chromium on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    port, client_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as started_in:
        log = Path(started_in) / "demo.log"
        demo = subprocess.Popen(
            python_module(
                "gateway", "demo", "--port", str(port), "--client-port", str(client_port)
            ),
            cwd=started_in,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until_ready(demo, f"http://localhost:{port}/oauth/health", log)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
                )
                _take(browser, folder, f"http://localhost:{port}", client_port)
                browser.close()
        finally:
            end(demo)


def _take(browser: Browser, folder: Path, issuer: str, client_port: int) -> None:
    query = {
        "client_id": "my-app",
        "scope": "project profile",
        "response_type": "code",
        "redirect_uri": f"http://localhost:{client_port}/oauth_code",
    }
    request = f"{issuer}/oauth/authorize?{urlencode(query, quote_via=quote)}"

    def shot(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    page = browser.new_page(viewport=_WINDOW)
    page.goto(request)
    shot(page, "sign-in")
    page.fill("[name=username]", "demo")
    page.fill("[name=password]", "demo")
    page.click("button[type=submit]")
    page.wait_for_selector("[name=decision]")
    shot(page, "consent")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(_PHONE)
    shot(page, "consent-phone-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(_WINDOW)
    page.click("[name=decision][value=allow]")
    page.wait_for_url(f"http://localhost:{client_port}/**")
    code = dict(parse_qsl(urlsplit(page.url).query))["code"]
    client = Client(issuer, redirect_uri=query["redirect_uri"])
    tokens = client.redeem(code).json()
    client.get("/api/whoami", tokens["access_token"]).raise_for_status()
    page.goto(f"{issuer}/oauth/applications")
    shot(page, "applications")
    page.goto(f"{issuer}/oauth/authorize?client_id=unknown")
    shot(page, "error")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
