"""Scripts of the configured origins can read a refusal; any header passes a preflight."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.config.config_samples import ISSUER, faults
from tests.support.oauth_client import FRAPPE, REVOKE, TOKEN
from tests.support.parties import parties_at
from tests.support.raw import RawResponse, request
from tests.support.running_gateway import RunningGateway, running_gateway

APP = "https://app.example"
METADATA = "/.well-known/oauth-authorization-server"
EXTRA = f'\n[cors]\norigins = ["{APP}", "capacitor://localhost"]\n'


@pytest.fixture(scope="module", params=["wrapped", "standalone"])
def open_to_app(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp(f"cors-{request.param}")
    with running_gateway(request.param, folder, extra=EXTRA) as gateway:
        yield gateway


def readable(answer: RawResponse, origin: str) -> bool:
    """Tell whether a browser lets a script of ``origin`` read the answer and its challenge."""
    allowed = answer.values("Access-Control-Allow-Origin") == [origin]
    exposed = answer.values("Access-Control-Expose-Headers") == ["WWW-Authenticate, Retry-After"]
    assert allowed == exposed
    assert allowed == (answer.values("Access-Control-Allow-Credentials") == ["true"])
    return allowed


def test_a_script_reads_why_it_is_refused(open_to_app: RunningGateway) -> None:
    access = parties_at(open_to_app).tokens(parties_at(open_to_app).public).access
    bearer = f"Authorization: Bearer {access}"
    for origin in (APP, "capacitor://localhost"):
        line = f"Origin: {origin}"
        nobody = request(open_to_app.port, "/private", line)
        narrow = request(open_to_app.port, "/admin", line, bearer)
        wrong = request(open_to_app.port, "/private", line, "Authorization: Bearer x")
        assert [nobody.status, narrow.status, wrong.status] == [401, 403, 401]
        for refusal in (nobody, narrow, wrong):
            assert readable(refusal, origin)
            assert refusal.values("WWW-Authenticate")
            assert "Origin" in refusal.values("Vary")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example.evil.example",
        "https://app.example:444",
        "http://app.example",
        "HTTPS://APP.EXAMPLE",
        "null",
        "*",
        "",
    ],
)
def test_another_origin_reads_nothing(open_to_app: RunningGateway, origin: str) -> None:
    answer = request(open_to_app.port, "/private", f"Origin: {origin}")
    assert answer.status == 401
    assert not readable(answer, origin)
    assert answer.values("Access-Control-Allow-Origin") == []
    assert answer.values("Vary") == ["Origin"]


def test_the_verify_endpoint_says_so_to_the_proxy(open_to_app: RunningGateway) -> None:
    lines = "X-Original-Method: GET", "X-Original-URI: /private", f"Origin: {APP}"
    answer = request(open_to_app.port, "/oauth/verify", *lines, source="127.0.0.2")
    assert answer.status == 401
    assert readable(answer, APP)


def test_without_a_configured_origin_nothing_is_added(gateway: RunningGateway) -> None:
    answer = request(gateway.port, "/private", f"Origin: {APP}")
    assert answer.status == 401
    assert not readable(answer, APP)
    assert answer.values("Vary") == []


def test_an_answer_of_the_backend_is_the_backends(open_to_app: RunningGateway) -> None:
    answer = request(open_to_app.port, "/public/x", f"Origin: {APP}")
    assert answer.status == 200
    assert answer.values("Access-Control-Allow-Origin") == []


@pytest.mark.parametrize("path", [TOKEN, REVOKE, FRAPPE + "revoke_token", METADATA])
@pytest.mark.parametrize(
    "asked",
    [
        "mcp-protocol-version",
        "authorization,dpop",
        "content-type, x-requested-with",
        "AUTHORIZATION",
        ",,x-a,",
    ],
)
def test_a_preflight_for_any_header_is_allowed(
    gateway: RunningGateway, path: str, asked: str
) -> None:
    answer = requests.options(
        gateway.url + path,
        headers={
            "Origin": APP,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        },
        timeout=20,
    )
    assert answer.status_code == 204
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert len(allowed) == len(set(allowed))
    assert set(allowed) >= {"authorization", "content-type"} | {
        name.strip().lower() for name in asked.split(",") if name.strip()
    }


@pytest.mark.parametrize("asked", ["x y", "x:y", "é", "x;y", "<b>"])
def test_what_is_no_header_name_is_not_repeated(gateway: RunningGateway, asked: str) -> None:
    line = f"Access-Control-Request-Headers: {asked}, x-good"
    answer = request(gateway.port, TOKEN, line, method="OPTIONS")
    [allowed] = answer.values("Access-Control-Allow-Headers")
    assert set(allowed.split(", ")) == {"x-good", "Authorization", "Content-Type"}


@pytest.mark.parametrize(
    "origin", ["https://app.example/", "*", "null", "app.example", "https://app.example:443"]
)
def test_an_origin_is_written_as_browsers_send_it(origin: str) -> None:
    [line] = faults(f'{ISSUER}[cors]\norigins = ["{origin}"]\n')
    assert line.startswith("[cors] origins:")
