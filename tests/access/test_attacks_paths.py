"""A path is judged as the backend will read it, or the request does not get there."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest

from tests.access.recorded import ask, assert_refused
from tests.support.recording import Recorded

INTO_ADMIN = [
    "/public/../admin/x",
    "/public/%2e%2e/admin/x",
    "/public/%2E%2E/admin/x",
    "/public/.%2e/admin/x",
    "/public/..%2fadmin/x",
    "/public%2f..%2fadmin/x",
    "/public/%2e%2e%2fadmin%2fx",
    "/public/%252e%252e/admin/x",
    "/public/%25252e%25252e/admin/x",
    "/public/%%32%65%%32%65/admin/x",
    "/public/%2525252525252e%2525252525252e/admin/x",
    "/public/..;/admin/x",
    "/public/..;a=b/admin/x",
    "/public/..%3b/admin/x",
    "/public/;/../../admin/x",
    "/public;/../admin/x",
    "/public/..\\admin/x",
    "/public/..%5cadmin/x",
    "/public/..%255cadmin/x",
    "/public/..%20/admin/x",
    "/public/..%00/admin/x",
    "/public/..%0d%0a/admin/x",
    "/public/..%09/admin/x",
    "/public/..%3f",
    "/public/..%23",
    "/public/..%3f/x",
    "/public/x/..",
    "/public/..",
    "/public/.",
    "/public/%c0%ae%c0%ae/admin/x",
    "/public/%e0%80%ae%e0%80%ae/admin/x",
    "/public/%f0%80%80%ae%f0%80%80%ae/admin/x",
    "/public/..%c0%afadmin/x",
    "/public/%u002e%u002e/admin/x",
    "/public/%25u002e%25u002e/admin/x",
    "/./admin/x",
    "/%2e/admin/x",
    "/.;/admin/x",
    "//admin/x",
    "///admin/x",
    "/%2fadmin/x",
    "/%2Fadmin%2Fx",
    "/;/admin/x",
    "/;x/admin/x",
    "/admin;/x",
    "/admin;x=y/x",
    "/admin%3bx/x",
    "/admin//x",
    "/admin%2fx",
    "/admin%252fx",
    "/%61dmin/x",
    "/%2561dmin/x",
    "/%25%36%31dmin/x",
    "/admin/..%2fpublic/x",
    "/admin/x/../../public/x",
    "/admin?x=/../public/",
    "/admin/x%00.png",
    "/admin/x;.png",
    "/mixed/secret;x",
    "/mixed//secret",
    "/mixed/secret%3fx",
    "/mixed/secret%23x",
    "/mixed/%73ecret",
    "/mixed%2Fsecret",
    "admin/x",
    "\\admin\\x",
    "public/../admin/x",
]


@pytest.mark.parametrize("target", INTO_ADMIN)
def test_no_way_of_writing_a_path_gets_past_its_rule(
    recorded: Recorded, bearer: str, target: str
) -> None:
    assert_refused(recorded, ask(recorded, target, bearer))


@pytest.mark.parametrize("recorded", ["standalone"], indirect=True)
@pytest.mark.parametrize(
    "target", ["/mixed/secret;x%2Fy", "//reports/a%2Fb", "/reports;x/a%2Fb", "/reports/a%2Fb"]
)
def test_an_escaped_slash_is_read_in_both_ways_where_the_backend_sees_it(
    recorded: Recorded, bearer: str, target: str
) -> None:
    assert_refused(recorded, ask(recorded, target, bearer))


@pytest.mark.parametrize("target", ["/public/%0aX-Forwarded-User:%20admin", "/public/%7f"])
def test_control_characters_are_refused_on_public_routes_too(
    recorded: Recorded, target: str
) -> None:
    assert_refused(recorded, ask(recorded, target))


@pytest.mark.parametrize(
    "target",
    [
        "/private?x=/public/x",
        "/private?/public/x",
        "/private?/../public/x",
        "/private%3f/public/x",
        "/private%3F%2Fpublic%2Fx",
        "/private%23/public/x",
        "/private#/public/x",
        "/private#?/public/x",
        "/private;/public/x",
        "/?/public/x",
        "/?/../public/x",
        "/%3f/public/x",
    ],
)
def test_a_public_path_in_a_query_or_fragment_makes_nothing_public(
    recorded: Recorded, target: str
) -> None:
    assert_refused(recorded, ask(recorded, target))


@pytest.mark.parametrize("query", ["?/public/x", "?x=/public/x", "?a=b;c=/public/", "?%2e%2e"])
def test_a_query_does_not_change_which_rule_is_met(
    recorded: Recorded, bearer: str, query: str
) -> None:
    answer = ask(recorded, f"/admin/x{query}", bearer)
    assert answer.status == 403
    assert 'scope="admin"' in answer.values("WWW-Authenticate")[0]
    assert recorded.reached() == []


@pytest.mark.parametrize("target", ["/public/x#/private", "/public/x#"])
def test_a_raw_fragment_is_never_forwarded(recorded: Recorded, target: str) -> None:
    """A URI's fragment is not sent (RFC 9110 §4.2.5): refused, or left out by the server."""
    answer = ask(recorded, target)
    if recorded.gateway.mode == "standalone":
        assert_refused(recorded, answer)
    else:
        assert [reached.target for reached in recorded.reached()] == ["/public/x"]


@pytest.mark.parametrize(
    ("target", "public"),
    [
        ("/mcp", True),
        ("/mcp?x", True),
        ("/mcp/", False),
        ("/mcp/x", False),
        ("/mcp-other", False),
        ("/mcp.", False),
        ("/mcpx", False),
        ("/MCP", False),
        ("/xmcp", False),
        ("/x/mcp", False),
        ("/mcp%20", False),
        ("/tools/", True),
        ("/tools/a", True),
        ("/tools/a/b/", True),
        ("/tools", False),
        ("/tools-other/a", False),
        ("/toolsa", False),
        ("/Tools/a", False),
        ("/x/tools/a", False),
    ],
)
def test_a_rule_is_for_its_path_to_the_letter(
    recorded: Recorded, target: str, *, public: bool
) -> None:
    answer = ask(recorded, target)
    assert answer.status == (200 if public else 401)
    assert len(recorded.reached()) == public


@pytest.mark.parametrize(
    "target",
    [
        "/api/vhosts/%2F/x",
        "/api/vhosts/%2f/x",
        "/a%2Fb//c%252F",
        "/caf%C3%A9/%e4%bd%a0",
        "/latin-1/%E9t%E9",
        "/with%20space/%7euser",
        "/~x/!$&'()*+,;=:@",
        "/a;b=c/d",
        "/100%25",
        "/a/.../b/..c/d..",
        "/.well-known/x",
        "/trailing/",
        "/%41%5a",
        "/x?",
        '/x?a=%2F&b=;c&d=//../x&e=%zz&f=[]{}|\\^`"<>',
    ],
)
def test_what_is_let_through_arrives_as_it_was_sent(
    recorded: Recorded, bearer: str, target: str
) -> None:
    assert ask(recorded, target, bearer).status == 200
    [reached] = recorded.reached()
    if recorded.gateway.mode == "standalone":
        assert reached.target == target
    else:
        path, mark, query = target.partition("?")
        decoded = unquote_to_bytes(path).decode("latin-1")
        assert reached.target == decoded + (mark + query if query else "")


@pytest.mark.parametrize("header", ["Script-Name: /public", "PATH_INFO: /admin/x"])
def test_a_header_that_is_named_like_a_wsgi_variable_is_not_taken_for_it(
    recorded: Recorded, header: str
) -> None:
    ask(recorded, "/public/admin/x", header)
    assert [reached.target for reached in recorded.reached()] in ([], ["/public/admin/x"])


@pytest.mark.parametrize("recorded", ["wrapped"], indirect=True)
def test_the_client_does_not_say_where_the_application_is_mounted(recorded: Recorded) -> None:
    """Gunicorn takes this header for WSGI's SCRIPT_NAME if its peer is a proxy on loopback."""
    assert_refused(recorded, ask(recorded, "/public/admin/x", "SCRIPT_NAME: /public"))


@pytest.mark.parametrize("name", ["X-Forwarded-Prefix", "X-Script-Name", "X-Forwarded-Path"])
def test_the_client_does_not_tell_the_backend_a_prefix_to_take_off(
    recorded: Recorded, name: str
) -> None:
    assert ask(recorded, "/public/admin/x", f"{name}: /public").status == 200
    [reached] = recorded.reached()
    assert "/public" not in dict(reached.headers).values()


@pytest.mark.parametrize(
    "target",
    [
        "//oauth/token",
        "/oauth//token",
        "/oauth/token;x",
        "/oauth/token%3fx",
        "/oauth/%74oken",
        "/oauth/%2574oken",
        "//api/method/frappe.integrations.oauth2.get_token",
    ],
)
def test_the_backend_is_not_asked_in_the_gateways_place(
    recorded: Recorded, bearer: str, target: str
) -> None:
    """It may have endpoints of the same names, whose tokens the gateway does not know."""
    assert_refused(recorded, ask(recorded, target, bearer, method="POST"))
