"""A path has one spelling in the audit log, however the gateway runs."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

import pytest

from gateway.http.judged_request import judged_request
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway

#: A target, and its path in the log.
SENT = [
    pytest.param("/audited", "/audited", id="plain"),
    pytest.param("/audited?q=not-told", "/audited", id="query"),
    pytest.param("/audited?", "/audited", id="empty query"),
    pytest.param("/a%20b%2Fc", "/a%20b%2Fc", id="space and slash"),
    pytest.param("/caf%C3%A9", "/caf%C3%A9", id="UTF-8"),
    pytest.param("/%E9", "/%E9", id="Latin-1"),
    pytest.param("/100%25", "/100%25", id="percent sign"),
    pytest.param("/a%3Fb%23c", "/a%3Fb%23c", id="question mark and hash"),
    pytest.param("/!$&'()*+,;=:@~", "/!$&'()*+,;=:@~", id="all that a path has"),
    pytest.param('/a|b"<>^`{}[]', '/a|b"<>^`{}[]', id="printable"),
    pytest.param("/public/%00", "/public/%00", id="NUL"),
    pytest.param("/public/../x", "/public/../x", id="dot segments"),
    pytest.param("/public\\x", "/public\\x", id="backslash"),
    pytest.param("//admin/x", "//admin/x", id="two slashes"),
]

#: A server that shows no raw target cannot tell these from others.
SENT_RAW = [
    pytest.param("/%2e%2e/%61", "/%2e%2e/%61", id="needless escapes"),
    pytest.param("/audited#not-told", "/audited", id="fragment"),
    pytest.param("http://gateway.test/a%20b?q", "/a%20b", id="absolute form"),
]


def last_line(gateway: RunningGateway) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(gateway.audit.read_text().splitlines()[-1])
    return line


@pytest.mark.parametrize(("target", "path"), [*SENT, *SENT_RAW])
def test_a_path_is_logged_as_it_was_sent(gateway: RunningGateway, target: str, path: str) -> None:
    """Wrapped and standalone, with the raw target of the server."""
    request(gateway.port, target)
    line = last_line(gateway)
    assert (line["event"], line["outcome"], line["path"]) == ("request", "refused", path)


@pytest.mark.parametrize(
    ("target", "path"),
    [*SENT, *SENT_RAW, pytest.param("/caf\xe9 x", "/caf%E9%20x", id="raw bytes")],
)
def test_a_proxys_question_is_logged_as_the_request_itself(
    standalone: RunningGateway, target: str, path: str
) -> None:
    original = ("X-Original-Method: GET", f"X-Original-URI: {target}")
    request(standalone.port, "/oauth/verify", *original, source="127.0.0.2")
    line = last_line(standalone)
    assert (line["event"], line["outcome"], line["path"]) == ("request", "refused", path)


@pytest.mark.parametrize(("target", "path"), SENT)
def test_a_decoded_path_is_logged_with_the_escapes_that_it_must_have_had(
    target: str, path: str
) -> None:
    """Where a server tells no raw target; only an escaped slash is lost."""
    environ: dict[str, Any] = {
        "PATH_INFO": unquote_to_bytes(target.partition("?")[0]).decode("latin-1")
    }
    setup_testing_defaults(environ)
    judged = judged_request(environ, "192.0.2.1")
    assert judged == ("GET", path.replace("%2F", "/"), "192.0.2.1")


def test_a_mounted_application_is_logged_with_its_whole_path() -> None:
    environ: dict[str, Any] = {"SCRIPT_NAME": "/shop", "PATH_INFO": "/a b"}
    setup_testing_defaults(environ)
    assert judged_request(environ, "192.0.2.1").path == "/shop/a%20b"


@pytest.mark.parametrize("target", ["http://ann:secret@gateway.test/x", "http://ann:secret@h"])
def test_a_password_in_a_target_is_not_logged(standalone: RunningGateway, target: str) -> None:
    """Neither where it is forwarded, nor where the server refuses it."""
    assert request(standalone.port, "/before").status == 401
    before = len(standalone.audit.read_text())
    request(standalone.port, target)
    assert request(standalone.port, "/after").status == 401
    noted = standalone.audit.read_text()[before:]
    assert "/after" in noted
    assert "secret" not in noted
