"""The bearer token and the gateway's cookie do not reach the backend."""

from __future__ import annotations

import json

import pytest

from tests.access.echoed import SESSION, bearer, said, told
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway


@pytest.mark.parametrize("target", ["/private", "/public/x"])
def test_the_bearer_token_does_not_reach_the_backend(
    gateway: RunningGateway, token: str, target: str
) -> None:
    echoed = said(
        gateway, target, bearer(token), f"Proxy-Authorization: Bearer {token}", method="POST"
    )
    assert told(echoed, "Authorization") == []
    if gateway.mode == "standalone":
        # RFC 9110 §11.7.2: it is for the next hop, and that is the gateway.
        assert told(echoed, "Proxy-Authorization") == []


COOKIES = [
    pytest.param([f"gateway_session={SESSION}"], [], id="alone"),
    pytest.param([f"a=1; gateway_session={SESSION}; b=2"], ["a=1; b=2"], id="between"),
    pytest.param([f"gateway_session={SESSION};a=1"], ["a=1"], id="no space"),
    pytest.param([f"a=1;  gateway_session = {SESSION}"], ["a=1"], id="spaces"),
    pytest.param([f"a=1;\tgateway_session={SESSION}"], ["a=1"], id="tab"),
    pytest.param([f'a="1; gateway_session={SESSION}; b=2"'], ['a="1; b=2"'], id="quoted"),
    pytest.param([f'"gateway_session"={SESSION}; a=1'], ["a=1"], id="quoted name"),
    pytest.param([f"gateway_session={SESSION}; gateway_session={SESSION}"], [], id="twice"),
    pytest.param(["a=1", f"gateway_session={SESSION}", "b=2"], ["a=1{and}b=2"], id="three lines"),
    pytest.param([f"gateway_session={SESSION}", f"gateway_session={SESSION}"], [], id="two lines"),
    pytest.param(
        [f"caf\xe9=\xc3\xa0; gateway_session={SESSION}"], ["caf\xe9=\xc3\xa0"], id="bytes"
    ),
    pytest.param(["not_gateway_session=1"], ["not_gateway_session=1"], id="another's name"),
    pytest.param(["a=gateway_session"], ["a=gateway_session"], id="a value"),
]


@pytest.mark.parametrize(("cookies", "left"), COOKIES)
def test_the_gateways_cookie_does_not_reach_the_backend_and_others_do(
    gateway: RunningGateway, cookies: list[str], left: list[str]
) -> None:
    echoed = said(gateway, "/public/x", *(f"Cookie: {cookie}" for cookie in cookies))
    # Several lines are one list of cookies; other servers join them as they do any header.
    joined = "; " if gateway.mode == "standalone" else ","
    assert told(echoed, "Cookie") == [value.replace("{and}", joined) for value in left]
    assert SESSION not in json.dumps(echoed)


def test_a_cookie_that_is_not_utf_8_breaks_nothing(gateway: RunningGateway) -> None:
    for target in ("/oauth/sign-in", "/oauth/applications", "/oauth/sign-out", "/public/x"):
        assert request(gateway.port, target, "Cookie: a=\xe9; \xff=1").status in {200, 302}
