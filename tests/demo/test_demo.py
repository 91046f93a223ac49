"""`gateway demo`, started as anybody would start it; what it prints is run word for word."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.config.file import settings_from_toml
from tests.demo.running_demo import (
    ENVIRONMENT,
    GATEWAY,
    SECONDS,
    Demo,
    bash,
    get,
    new_browser,
    preformatted,
    press,
    resource_status,
    signed_in_and_allowed,
    tokens_of,
    until,
)
from tests.support.processes import free_port

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("bash") is None,
    reason="there is no curl or no bash here",
)
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="processes are found in /proc, which is not here"
)


@pytest.fixture(scope="module")
def _demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    # Whatever lies about where somebody tries the demo is not imported by it.
    (folder / "gateway").mkdir()
    (folder / "gateway" / "__init__.py").write_text("raise SystemExit('a stranger')\n")
    demo = Demo(folder)
    yield demo
    if not demo.has_ended():
        demo.kill()


@pytest.fixture
def demo(_demo: Demo) -> Demo:
    """The one demo of all tests, running."""
    if _demo.has_ended():
        _demo.start()
    return _demo


@needs_curl
def test_the_printed_requests_work_word_for_word(demo: Demo) -> None:
    page = signed_in_and_allowed(new_browser(), demo.link(".authorize?"))
    (code,) = parse_qs(urlsplit(page.url).query)["code"]

    first = json.loads(bash(demo.command("grant_type=authorization_code"), CODE=code))
    assert list(first) == ["access_token", "token_type", "expires_in", "refresh_token", "scope"]
    assert (first["token_type"], first["expires_in"], first["scope"]) == ("Bearer", 3600, "project")

    resource = demo.command("/api/resource/Project")
    projects = json.loads(bash(resource, ACCESS_TOKEN=first["access_token"]))["data"]
    assert [project["name"] for project in projects] == ["PROJ-0001", "PROJ-0002", "PROJ-0003"]

    refresh = demo.command("grant_type=refresh_token")
    second = json.loads(bash(refresh, REFRESH_TOKEN=first["refresh_token"]))
    assert list(second) == list(first)
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] != first["refresh_token"]
    access_token = second["access_token"]
    assert json.loads(bash(resource, ACCESS_TOKEN=access_token))["data"] == projects

    introspected = json.loads(bash(demo.command("/oauth/introspect"), ACCESS_TOKEN=access_token))
    assert (introspected["active"], introspected["scope"]) == (True, "project")

    revoked = json.loads(bash(demo.command("revoke_token"), ACCESS_TOKEN=access_token))
    assert revoked == {"message": "success"}
    refused = bash(resource.rstrip() + " --include", ACCESS_TOKEN=access_token)
    assert refused.startswith("HTTP/1.1 401 ")


@needs_curl
def test_the_client_shows_the_code_of_the_printed_link_with_the_request_to_paste(
    demo: Demo,
) -> None:
    page = signed_in_and_allowed(new_browser(), demo.link(".authorize?"))
    (script,) = preformatted(page)
    printed = demo.command("grant_type=authorization_code")
    assert script.splitlines()[2:] == [line.removeprefix("    ") for line in printed.splitlines()]
    assert json.loads(bash(script))["scope"] == "project"


def test_the_first_page_of_the_gateway_leads_to_the_client(demo: Demo) -> None:
    page = get(demo.issuer)
    assert page.status_code == 200
    assert f'href="{demo.client}"' in page.text


@needs_curl
def test_the_printed_spoof_does_not_reach_the_backend(demo: Demo) -> None:
    told = json.loads(bash(demo.command("/public/headers")))
    assert told["user"] is None
    assert "admin" not in json.dumps(told)


def test_the_client_never_shows_anything_but_a_code_to_be_pasted_into_a_shell(demo: Demo) -> None:
    page = get(f"{demo.client}/oauth_code", params={"code": "x;reboot"})
    assert page.status_code == 400
    assert "reboot" not in page.text


def test_the_client_signs_in_calls_refreshes_and_revokes(demo: Demo) -> None:
    browser = new_browser()
    assert "/sign-in" in browser.get(demo.client).text
    page = signed_in_and_allowed(browser, f"{demo.client}/sign-in")
    assert page.url == f"{demo.client}/"
    assert "Hello, demo" in page.text
    request, answer = preformatted(page)
    assert "code_verifier=" in request

    page = press(browser, page, "/call")
    request, answer = preformatted(page)
    assert request.startswith("GET /api/resource/Project\n")
    assert len(json.loads(answer)["data"]) == 3

    page = press(browser, page, "/refresh")
    request, answer = preformatted(page)
    assert "grant_type=refresh_token" in request
    assert json.loads(answer)["scope"] == "project profile"
    assert "Answer <strong>200</strong>" in press(browser, page, "/call").text

    page = press(browser, page, "/revoke")
    assert json.loads(preformatted(page)[1]) == {"message": "success"}
    page = press(browser, page, "/call")
    assert "Answer <strong>401</strong>" in page.text
    assert 'error="invalid_token"' in preformatted(page)[1]

    assert "/sign-in" in press(browser, page, "/sign-out").text
    assert "Hello" not in browser.get(demo.client).text


def test_the_client_asks_with_pkce_and_a_state_of_its_own(demo: Demo) -> None:
    locations = [
        get(f"{demo.client}/sign-in", allow_redirects=False).headers["Location"] for _ in range(2)
    ]
    first, second = (parse_qs(urlsplit(location).query) for location in locations)
    assert first["code_challenge_method"] == ["S256"]
    for name in ("state", "code_challenge"):
        assert first[name] != second[name]
        assert len(first[name][0]) == 43


def test_the_client_takes_no_answer_that_this_browser_did_not_ask_for(demo: Demo) -> None:
    browser, other = new_browser(), new_browser()
    asked = other.get(f"{demo.client}/sign-in", allow_redirects=False).headers["Location"]
    answer = {"code": "c", "state": parse_qs(urlsplit(asked).query)["state"][0]}
    page = browser.get(f"{demo.client}/oauth_code", params={**answer, "iss": demo.issuer})
    assert page.status_code == 400
    assert "did not begin here" in page.text


@pytest.mark.parametrize("issuer", ["https://evil.example", None])
def test_the_client_takes_no_answer_of_another_server(demo: Demo, issuer: str | None) -> None:
    """RFC 9207 §2.4: nor one that does not say whose it is."""
    browser = new_browser()
    asked = browser.get(f"{demo.client}/sign-in", allow_redirects=False).headers["Location"]
    answer = {"code": "c", "state": parse_qs(urlsplit(asked).query)["state"][0], "iss": issuer}
    page = browser.get(f"{demo.client}/oauth_code", params=answer)
    assert page.status_code == 400
    assert preformatted(page) == []


def test_the_client_takes_no_form_that_it_did_not_show(demo: Demo) -> None:
    browser = new_browser()
    signed_in_and_allowed(browser, f"{demo.client}/sign-in")
    assert browser.post(f"{demo.client}/revoke", {"csrf_token": "x"}).status_code == 403
    assert "Hello, demo" in browser.get(demo.client).text


def test_somebody_who_denies_is_told_so_by_the_client(demo: Demo) -> None:
    browser = new_browser()
    asked = browser.get(f"{demo.client}/sign-in", allow_redirects=False).headers["Location"]
    answer = {"error": "access_denied", "state": parse_qs(urlsplit(asked).query)["state"][0]}
    page = browser.get(f"{demo.client}/oauth_code", params={**answer, "iss": demo.issuer})
    assert "You did not allow it" in page.text


def test_the_configuration_is_written_and_has_no_fault(demo: Demo) -> None:
    written = demo.folder / "gateway-demo" / "demo.toml"
    environment = {name: ENVIRONMENT[name] for name in ENVIRONMENT if "GATEWAY" not in name}
    done = subprocess.run(
        [GATEWAY, "check", "--config", written], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(written.relative_to(demo.folder)) in demo.printed


def test_the_secret_key_is_for_its_owner_alone(demo: Demo) -> None:
    secret_key = demo.folder / "gateway-demo" / "secret-key"
    assert stat.S_IMODE(secret_key.stat().st_mode) == 0o600
    assert secret_key.read_text().strip() not in demo.printed


def test_the_audit_log_is_in_a_file_and_not_on_the_terminal(demo: Demo) -> None:
    marker = f"/public/{time.time_ns()}"
    get(demo.issuer + marker)
    until(lambda: marker in (demo.folder / "gateway-demo" / "audit.log").read_text())
    assert marker not in demo.printed + demo.complaints


def test_a_gateway_that_is_set_up_beside_the_demo_has_a_store_of_its_own(demo: Demo) -> None:
    beside = settings_from_toml(
        'issuer = "http://localhost:8000"', base=demo.folder, environ=ENVIRONMENT
    )
    assert beside.store.url == "embedded"
    assert not beside.store.data_dir.exists()


def test_a_port_in_use_is_said_with_the_option_to_change_it(demo: Demo, tmp_path: Path) -> None:
    command = [str(GATEWAY), "demo", "--port", str(demo.port), "--client-port", str(free_port())]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: port {demo.port} for the gateway is in use by another program;"
        " choose another one with --port\n"
    )
    assert list(tmp_path.iterdir()) == []


@needs_proc
def test_ctrl_c_leaves_nothing_running_and_tokens_outlive_it(demo: Demo) -> None:
    tokens = tokens_of(demo)
    # The master, two workers, the sites, the store and what keeps it.
    until(lambda: len(demo.processes()) == 6)
    assert demo.interrupt() == 0
    until(lambda: demo.processes() == [])
    assert demo.complaints == ""

    demo.start()
    assert resource_status(demo, tokens["access_token"]) == 200


@needs_proc
def test_a_demo_that_is_killed_leaves_nothing_running(demo: Demo) -> None:
    assert demo.kill() == -signal.SIGKILL
    until(lambda: demo.processes() == [])
