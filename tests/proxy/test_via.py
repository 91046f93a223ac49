"""A request that comes round again is a loop; one that another server of our name sent is none."""

from __future__ import annotations

import pytest

from gateway.application import via_pseudonym
from gateway.config.settings import Settings
from tests.access.echoed import TRUSTED_PROXY, told
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway


def settings(issuer: str = "https://gateway.example", *keys: bytes) -> Settings:
    return Settings.model_construct(issuer=issuer, secret_keys=keys or (b"k" * 32,))


@pytest.mark.parametrize("source", ["127.0.0.1", TRUSTED_PROXY])
def test_a_proxy_in_front_may_call_itself_by_the_host_of_the_issuer(
    standalone: RunningGateway, source: str
) -> None:
    for name in (f"127.0.0.1:{standalone.port}", "127.0.0.1", "gateway", "gateway-0", "-"):
        via = f"1.1 {name} (Apache/2.4.58)"
        answer = request(standalone.port, "/public/x", f"Via: {via}", source=source)
        assert answer.status == 200, name
        [received] = told(answer.json(), "Via")
        assert received.startswith(f"{via}, 1.1 gateway-")


def test_a_request_that_has_been_here_before_is_a_loop(standalone: RunningGateway) -> None:
    answer = request(standalone.port, "/public/x")
    [via] = told(answer.json(), "Via")
    assert answer.values("Via") == [via.replace("1.1", "1.0")] or answer.values("Via") == [via]
    for received in (via, f"1.1 other (x), {via}", f"{via} (comment), 1.0 fred"):
        looped = request(standalone.port, "/public/x", f"Via: {received}")
        assert looped.status == 508, received


def test_the_name_is_that_of_one_deployment_alone() -> None:
    """Two gateways in a row may share their keys, and two with one issuer may not."""
    name = via_pseudonym(settings())
    assert name == via_pseudonym(settings("https://gateway.example", b"k" * 32, b"old" * 12))
    assert name != via_pseudonym(settings("https://other.example"))
    assert name != via_pseudonym(settings("https://gateway.example", b"x" * 32))
