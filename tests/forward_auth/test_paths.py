"""What is judged is what is served: a path is the same to the gateway and to the backend."""

from __future__ import annotations

import re

import pytest

from tests.forward_auth.backend import RecordingBackend
from tests.forward_auth.proxies import RunningProxy
from tests.forward_auth.relay import Relay
from tests.support.running_gateway import RunningGateway

_JUDGED = re.compile(rb"(?im)^x-(?:original|forwarded)-uri: (.*)\r$")

#: Ways to say /admin that could be taken for something public, or for nothing that has a rule.
DISGUISED = [
    *("/public/../admin", "/public/%2e%2e/admin", "/public/.%2E/admin", "/public/..%2fadmin"),
    *("/public/%252e%252e/admin", "/public/%25%32%65%25%32%65/admin", "/public/..;/admin"),
    *("/public/..%5cadmin", "/public\\..\\admin", "/public/..//admin", "/./admin", "/admin/."),
    *(
        "//host/admin",
        "///host/admin",
        "//admin",
        "///admin",
        "/%2fadmin",
        "/%2Fadmin",
        "/;/admin",
        "/public/%00/../admin",
    ),
    *("/%61dmin", "/adm%69n", "/%2561dmin", "/admin%2f", "/admin%2Fusers", "/admin;x=1"),
    *("/admin?x=/public/y", "/admin%3Fx=/public/y", "/admin%23/public/y", "/admin#/public/y"),
    *("/public/#/../admin", "/public/%23/../../admin", "/public/x/../../admin"),
    *("/oauth/../admin", "/oauth/%2e%2e/admin", "/oauth/token/../../admin", "/_decision/../admin"),
]

#: What honest clients send and what has one meaning, strange as it may look.
HONEST = [
    *("/a%2Fb//c%252F", "/api/vhosts/%2F/x", "/caf%C3%A9", "/a%20b", "/a+b", "/a;v=1/b"),
    *("/x?next=/admin", "/x?a=%2e%2e%2f&b=//c", "/x?", "/x?a?b", "/a,b:c@d!$'()*/~user/-._"),
    "/x/?" + "q" * 4000,
]

#: Some proxies let these through, some write them anew, some refuse them.
DIRTY = ["/public/caf\xe9", '/public/a|b{c}"<>^`', "/public/%zz", "/public/x?a=%", "/public/x?y#z"]


def judged(relay: Relay) -> str | None:
    """Return the target that the gateway was last asked about."""
    found = _JUDGED.findall(relay.asked())
    return found[-1].decode("latin-1") if found else None


@pytest.mark.parametrize("target", DISGUISED)
def test_a_disguised_path_is_not_served_without_its_scope(
    proxy: RunningProxy, backend: RecordingBackend, token: str, target: str
) -> None:
    """Neither with the token of a user who may not see /admin, nor without any."""
    before = len(backend.targets)
    assert proxy.ask(target).status in {400, 401, 404}
    assert proxy.ask(target, token=token).status in {400, 403, 404}
    assert len(backend.targets) == before


@pytest.mark.parametrize("target", HONEST)
def test_what_is_judged_is_what_is_served_byte_for_byte(
    proxy: RunningProxy, relay: Relay, token: str, target: str
) -> None:
    relay.asked()
    assert proxy.ask(target, token=token).echoed["target"] == target
    assert judged(relay) == target


@pytest.mark.parametrize("target", DIRTY)
def test_what_a_proxy_writes_anew_is_judged_as_it_is_served(
    proxy: RunningProxy, backend: RecordingBackend, relay: Relay, target: str
) -> None:
    relay.asked()
    before = len(backend.targets)
    proxy.ask(target)
    assert backend.targets[before:] in ([], [judged(relay)])


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "elsewhere.example"])
def test_a_target_in_absolute_form_is_judged_by_its_path(
    proxy: RunningProxy, backend: RecordingBackend, token: str, host: str
) -> None:
    """RFC 9112 §3.2.2."""
    target = f"http://{host.format(port=proxy.port)}/admin/absolute?/public/x"
    proxy.ask(target, token=token)
    assert not backend.saw("/admin/absolute")


@pytest.mark.parametrize(
    "target",
    ["/oauth/verify", "//oauth/verify", "/oauth/./verify", "/oauth/%76erify", "/_decision"],
)
def test_the_question_cannot_be_asked_from_outside(
    proxy: RunningProxy, relay: Relay, target: str
) -> None:
    relay.asked()
    answer = proxy.ask(target, "X-Original-URI: /public/forged", "X-Original-Method: GET")
    assert answer.status in {400, 401, 404}
    assert b"/public/forged" not in relay.asked()


def test_the_proxy_answers_as_the_gateway_itself_would(
    proxy: RunningProxy, decider: RunningGateway, token: str
) -> None:
    """As a proxy of its own; the same status and the same challenge."""
    direct = RunningProxy("standalone", decider.port, None)
    for target in ("/x", "/admin", "/public/../admin", "//admin", "/%61dmin", "/public/a%2Fb"):
        for presented in (None, token, "unknown"):
            expected = direct.ask(target, token=presented)
            answer = proxy.ask(target, token=presented)
            assert answer.status == expected.status, target
            assert answer.all("WWW-Authenticate") == expected.all("WWW-Authenticate"), target
