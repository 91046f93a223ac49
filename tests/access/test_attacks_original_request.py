"""A proxy that is trusted says which request it asks about, and no client does."""

from __future__ import annotations

import pytest

from tests.access.echoed import TRUSTED_PROXY, assert_refused, bearer, said, told
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway

ABOUT_ANOTHER_REQUEST = [
    "X-Forwarded-Uri: /public/x",
    "X-Forwarded-Path: /public/x",
    "X-Forwarded-Prefix: /public",
    "X-Forwarded-Method: OPTIONS",
    "X-Original-URI: /public/x",
    "X-Original-URL: /public/x",
    "X-Original-Method: OPTIONS",
    "X-Rewrite-URL: /public/x",
    "X-HTTP-Method-Override: OPTIONS",
    "X-Script-Name: /public",
    "X-Auth-Request-Redirect: /public/x",
    "X_Original_URI: /public/x",
    "x-original.uri: /public/x",
]


@pytest.mark.parametrize("header", ABOUT_ANOTHER_REQUEST)
def test_no_header_makes_a_private_path_public(gateway: RunningGateway, header: str) -> None:
    assert_refused(request(gateway.port, "/private", header))


def test_no_header_of_a_trusted_proxy_does_either(gateway: RunningGateway) -> None:
    """What it says of the original request counts at the verify endpoint alone."""
    assert_refused(request(gateway.port, "/private", *ABOUT_ANOTHER_REQUEST, source=TRUSTED_PROXY))


@pytest.mark.parametrize("header", ABOUT_ANOTHER_REQUEST)
def test_no_header_lowers_what_a_route_needs(
    gateway: RunningGateway, token: str, header: str
) -> None:
    assert_refused(request(gateway.port, "/admin/x", bearer(token), header), 403)


@pytest.mark.parametrize("header", [*ABOUT_ANOTHER_REQUEST[:10], *ABOUT_ANOTHER_REQUEST[11:]])
def test_the_backend_is_not_told_of_another_request_than_was_judged(
    gateway: RunningGateway, header: str
) -> None:
    name = header.partition(":")[0]
    assert told(said(gateway, "/public/y", header), name) == []


VERIFIED = [
    pytest.param(("X-Original-URI: /public/x", "X-Original-Method: GET"), 200, id="public"),
    pytest.param(("X-Original-URI: /private", "X-Original-Method: GET"), 401, id="private"),
    pytest.param(("X-Forwarded-Uri: /private", "X-Forwarded-Method: GET"), 401, id="forwarded"),
    pytest.param(("X-Original-URI: /private?/public/x", "X-Original-Method: GET"), 401, id="query"),
    pytest.param(
        ("X-Original-URI: /public/../admin", "X-Original-Method: GET"), 400, id="dot segments"
    ),
    pytest.param(
        ("X-Original-URI: /public/%2e%2e/admin", "X-Original-Method: GET"), 400, id="escaped"
    ),
    pytest.param(("X-Original-URI: /private#/public/x", "X-Original-Method: GET"), 400, id="hash"),
    pytest.param(
        ("X-Original-URI: /private", "X-Forwarded-Uri: /public/x", "X-Original-Method: GET"),
        403,
        id="contradictory targets",
    ),
    pytest.param(
        ("X-Original-URI: /public/x", "X-Original-Method: GET", "X-Forwarded-Method: POST"),
        403,
        id="contradictory methods",
    ),
    pytest.param(("X-Original-Method: GET",), 403, id="no target"),
    pytest.param(("X-Original-URI: /public/x",), 403, id="no method"),
    pytest.param(
        ("X-Original-URI: http://gateway.test/public/x", "X-Original-Method: GET"),
        (400, 403),
        id="URL",
    ),
]


@pytest.mark.parametrize(("headers", "status"), VERIFIED)
def test_a_trusted_proxy_asks_about_the_original_request(
    gateway: RunningGateway, headers: tuple[str, ...], status: int | tuple[int, ...]
) -> None:
    answer = request(gateway.port, "/oauth/verify", *headers, source=TRUSTED_PROXY)
    assert answer.status in (status if isinstance(status, tuple) else {status})
    assert answer.values("X-Forwarded-User") == []


@pytest.mark.parametrize(("headers", "status"), VERIFIED)
def test_anybody_else_asks_the_verify_endpoint_in_vain(
    gateway: RunningGateway, token: str, headers: tuple[str, ...], status: int
) -> None:
    answer = request(gateway.port, "/oauth/verify", bearer(token), *headers)
    assert answer.status == 403
    assert answer.values("X-Forwarded-User") == []


def test_a_trusted_proxy_is_told_who_asks(gateway: RunningGateway, token: str) -> None:
    original = ("X-Original-URI: /private", "X-Original-Method: GET", "X-Forwarded-User: admin")
    answer = request(gateway.port, "/oauth/verify", bearer(token), *original, source=TRUSTED_PROXY)
    assert answer.status == 200
    assert answer.values("X-Forwarded-User") == ["demo"]
