"""A demo that runs: its processes, its printed lines, and a browser at it."""

from __future__ import annotations

import html
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from tests.support.oauth_client import form_of
from tests.support.processes import free_port

GATEWAY = Path(sys.executable).with_name("gateway")
SECONDS = 15.0

#: Not of the machine that tests: neither its proxies nor another gateway's key.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.lower().endswith("_proxy") and not name.startswith("GATEWAY_")
} | {"GATEWAY_SECRET_KEY": "of another gateway, at least thirty-two bytes"}


@dataclass
class Demo:
    """A demo in a folder of its own. It can be ended and started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    client_port: int = field(default_factory=free_port)
    backend_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def client(self) -> str:
        return f"http://localhost:{self.client_port}"

    @property
    def printed(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def complaints(self) -> str:
        return (self.folder / "stderr").read_text()

    def start(self) -> None:
        """Start, and wait until everything is printed and the gateway is ready."""
        command = [str(GATEWAY), "demo", "--port", str(self.port)]
        command += ["--client-port", str(self.client_port)]
        command += ["--backend-port", str(self.backend_port)]
        with (self.folder / "stdout").open("wb") as out, (self.folder / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=ENVIRONMENT,
                stdout=out,
                stderr=err,
                process_group=0,
            )
        until(lambda: "audit.log" in self.printed or self.has_ended())
        assert not self.has_ended(), self.complaints
        assert get(f"{self.issuer}/oauth/health").status_code == 200

    def interrupt(self) -> int:
        """Do what Ctrl-C does, a signal to all of the terminal; return the exit status."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(SECONDS)

    def kill(self) -> int:
        """Kill the one process that was started, and return the exit status."""
        assert self.process is not None
        self.process.kill()
        return self.process.wait(SECONDS)

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def blocks(self) -> list[str]:
        """What is printed to be copied: the indented lines, each block as it stands."""
        return re.findall(r"(?m)(?:^    .*\n)+", self.printed)

    def command(self, words: str) -> str:
        (found,) = (block for block in self.blocks() if words in block and "curl" in block)
        return found

    def link(self, words: str) -> str:
        (found,) = (block for block in self.blocks() if words in block and "curl" not in block)
        return found.strip()

    def processes(self) -> list[str]:
        """What runs in the folder or with its name on the command line."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (process / "cmdline").read_bytes().decode(errors="replace")
                if str(self.folder) in words or (process / "cwd").readlink().is_relative_to(
                    self.folder
                ):
                    found.append(f"{process.name} {words}".replace("\0", " "))
        return found


def until(condition: Any, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def get(url: str, **options: Any) -> requests.Response:
    return new_browser().get(url, **options)


def new_browser() -> requests.Session:
    browser = requests.Session()
    browser.trust_env = False
    return browser


def signed_in_and_allowed(browser: requests.Session, url: str) -> requests.Response:
    """Open a URL, and do what the gateway's pages ask for until they ask no more."""
    page = browser.get(url)
    for _ in range(2):
        form = form_of(page)
        if "username" in form.fields:
            answers = {"username": "demo", "password": "demo"}
        elif ("decision", "allow") in form.buttons:
            answers = {"decision": "allow"}
        else:
            break
        page = browser.post(urljoin(page.url, form.action), {**form.fields, **answers})
    return page


def bash(script: str, **variables: str) -> str:
    """Run a script as it was printed, and return what it prints."""
    done = subprocess.run(
        ["bash", "-c", script],
        env=ENVIRONMENT | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    return done.stdout


def preformatted(page: requests.Response) -> list[str]:
    return [html.unescape(text) for text in re.findall(r"(?s)<pre[^>]*>(.*?)</pre>", page.text)]


def press(browser: requests.Session, page: requests.Response, path: str) -> requests.Response:
    """Press the button of the sample client whose form goes to ``path``."""
    assert f'action="{path}"' in page.text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
    assert token is not None
    return browser.post(urljoin(page.url, path), {"csrf_token": token[1]})


def tokens_of(demo: Demo) -> dict[str, Any]:
    """Get tokens by the printed link and the exchange that it is made for."""
    page = signed_in_and_allowed(new_browser(), demo.link(".authorize?"))
    (code,) = parse_qs(urlsplit(page.url).query)["code"]
    answer = new_browser().post(
        f"{demo.issuer}/oauth/token",
        {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": f"{demo.client}/oauth_code",
            "client_id": "my-app",
        },
    )
    tokens: dict[str, Any] = answer.json()
    return tokens


def resource_status(demo: Demo, access_token: str) -> int:
    headers = {"Authorization": f"Bearer {access_token}"}
    return get(f"{demo.issuer}/api/resource/Project", headers=headers).status_code
