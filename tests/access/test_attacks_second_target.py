"""A request that names a second target, or another host or prefix, is judged by all it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from contextvars import copy_context
from functools import cache
from typing import Any

import pytest
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client as WSGIClient
from werkzeug.test import run_wsgi_app

from gateway import OAuthGateway, load_config
from tests.access.recorded import ask, assert_refused
from tests.support.oauth_client import Browser, Client
from tests.support.raw import send
from tests.support.recording import Recorded, recorded_gateway
from tests.support.running_gateway import write_settings

ROUTES = """
[[routes]]
path = "/tasks/**"
scopes = ["admin"]

[[routes]]
path = "/open"
host = "open.test"
public = true

[[routes]]
path = "/open"
host = "closed.test"
scopes = ["admin"]
"""


@pytest.fixture(scope="module")
def _gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Recorded]]:
    with ExitStack() as stack:

        @cache
        def start(mode: str) -> Recorded:
            folder = tmp_path_factory.mktemp(f"targets-{mode}")
            return stack.enter_context(recorded_gateway(mode, folder, extra=ROUTES))

        yield start


@pytest.fixture(scope="module", params=["wrapped", "standalone"])
def recorded(request: pytest.FixtureRequest, _gateways: Callable[[str], Recorded]) -> Recorded:
    return _gateways(request.param)


@pytest.fixture(scope="module")
def bearer(recorded: Recorded) -> str:
    """An Authorization line with the scope project, and not admin."""
    browser = Browser(recorded.gateway.url)
    assert browser.sign_in().status_code == 303
    issued = Client(recorded.gateway.url).redeem(browser.code()).json()
    return f"Authorization: Bearer {issued['access_token']}"


ELSEWHERE = [
    "http://gateway.test/tasks/d.txt",
    "/tasks/d.txt",
    "http://gateway.test:80/Tasks/d.txt",
    "https://other.test/tasks/d.txt",
    "/public/%2574asks/../../tasks/d.txt",
    "/tasks%2Fd.txt",
    "/tasks;x/d.txt?y#z",
    "/x, /tasks/d.txt",
    "tasks/d.txt",
    "",
    "/oauth/token",
]


@pytest.mark.parametrize("destination", ELSEWHERE)
@pytest.mark.parametrize("method", ["MOVE", "COPY", "REBIND"])
def test_a_destination_that_may_not_be_written_is_refused(
    recorded: Recorded, bearer: str, method: str, destination: str
) -> None:
    """RFC 4918 §10.3."""
    header = f"Destination: {destination}"
    assert_refused(recorded, ask(recorded, "/a.txt", bearer, header, method=method))


@pytest.mark.parametrize("destination", ["/private/d.txt", "http://gateway.test/private/d.txt"])
def test_a_public_source_does_not_make_its_destination_public(
    recorded: Recorded, destination: str
) -> None:
    header = f"Destination: {destination}"
    assert_refused(recorded, ask(recorded, "/public/evil.txt", header, method="COPY"))


def test_a_destination_that_may_be_written_arrives_as_it_was_sent(
    recorded: Recorded, bearer: str
) -> None:
    header = "Destination: http://gateway.test/other%20name.txt"
    assert ask(recorded, "/a.txt", bearer, header, method="MOVE").status == 200
    [reached] = recorded.reached()
    assert dict(reached.headers)["Destination"] == "http://gateway.test/other%20name.txt"


def test_a_method_with_one_target_is_not_judged_by_such_a_header(
    recorded: Recorded, bearer: str
) -> None:
    assert ask(recorded, "/a.txt", bearer, "Destination: a queue", method="POST").status == 200


def of_host(recorded: Recorded, host: str, *headers: str) -> int:
    lines = "".join(f"{each}\r\n" for each in headers)
    answer = send(
        recorded.gateway.port,
        f"GET /open HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n".encode(),
    )
    assert answer is not None
    return answer.status


@pytest.mark.parametrize("host", ["open.test", "open.test:8000", "OPEN.test", "open.test."])
def test_a_rule_for_a_host_is_for_that_host(recorded: Recorded, host: str) -> None:
    assert of_host(recorded, host) == 200


@pytest.mark.parametrize(
    "host", ["closed.test", "Closed.Test:80", "closed.test.", "other.test", "xopen.test"]
)
def test_and_for_no_other(recorded: Recorded, host: str) -> None:
    assert of_host(recorded, host) == 401


def test_a_host_that_is_told_beside_it_makes_no_rule_laxer(recorded: Recorded, bearer: str) -> None:
    assert of_host(recorded, "closed.test", bearer, "X-Forwarded-Host: open.test") == 403
    assert of_host(recorded, "open.test", bearer, "X-Forwarded-Host: closed.test") == 403


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://shop.example:80/public/x", "shop.example"),
        ("http://shop.example/public/x", "shop.example:80"),
        ("http://SHOP.example:/public/x", "shop.example"),
    ],
)
def test_a_default_port_may_be_left_out(recorded: Recorded, target: str, host: str) -> None:
    """RFC 9110 §4.2.3."""
    answer = send(
        recorded.gateway.port,
        f"GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(),
    )
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/openid-configuration",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server/tenant",
    ],
)
def test_a_document_that_there_is_not_is_no_challenge(recorded: Recorded, path: str) -> None:
    answer = ask(recorded, path)
    assert answer.status == 404
    assert answer.values("WWW-Authenticate") == []
    assert recorded.reached() == []


@pytest.mark.parametrize("path", ["/oauth/authorize/", "/OAuth/Authorize", "/oauth/sign-in/"])
def test_a_page_in_another_spelling_is_found(recorded: Recorded, path: str) -> None:
    answer = ask(recorded, f"{path}?client_id=my-app")
    assert answer.status == 302
    canonical = path.rstrip("/").lower()
    assert answer.values("Location") == [f"{canonical}?client_id=my-app"]


@pytest.mark.parametrize("path", ["/oauth/token/", "/oauth/verify/", "/oauth//authorize"])
def test_what_is_no_page_is_not(recorded: Recorded, path: str) -> None:
    assert_refused(recorded, ask(recorded, path))


PREFIXES = ["X-Forwarded-Prefix", "X-Script-Name"]


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    config = write_settings(tmp_path_factory.mktemp("mounted"), port=1, extra=ROUTES)

    def app(environ: object, start_response: Callable[..., object]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"reached"]

    gateway = OAuthGateway(app, load_config(config))

    def called(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        # Each request has a time budget in its context, which is not that of other tests.
        return copy_context().run(gateway, environ, start_response)

    yield called
    gateway.close()


@pytest.mark.parametrize("peer", ["127.0.0.9", "203.0.113.7"])
def test_a_client_puts_no_public_prefix_before_a_path(in_process: Any, peer: str) -> None:
    client = WSGIClient(ProxyFix(in_process, x_prefix=1))
    answer = client.get(
        "/x",
        headers={"X-Forwarded-Prefix": "/public"},
        environ_overrides={"REMOTE_ADDR": peer},
    )
    assert answer.status_code == 401


def test_a_middleware_of_another_kind_does_not_either(in_process: Any) -> None:
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/public",
        "PATH_INFO": "/x",
        "HTTP_X_SCRIPT_NAME": "/public",
        "REMOTE_ADDR": "127.0.0.9",
        "wsgi.url_scheme": "http",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
    }
    assert run_wsgi_app(in_process, environ)[1].startswith("401")


def test_where_the_operator_mounts_it_the_whole_path_is_judged(
    in_process: Any,
) -> None:
    client = WSGIClient(in_process)
    environ = {"SCRIPT_NAME": "/public", "REMOTE_ADDR": "127.0.0.9"}
    assert client.get("/x", environ_overrides=environ).status_code == 200
