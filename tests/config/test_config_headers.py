"""Headers that tell the backend who asks, and headers that are added to answers."""

from __future__ import annotations

import pytest

from gateway.config.grammar import upstream_header_fault
from gateway.http.header_policy import HOP_BY_HOP
from tests.config.config_samples import ISSUER, faults


@pytest.mark.parametrize(
    "header",
    [
        "",
        "X User",
        "X:User",
        "X\\r\\nUser",
        "ü",
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "AUTHORIZATION",
        "Cookie",
        "X-Forwarded-For",
        "X_Forwarded_Host",
        "Forwarded",
    ],
)
def test_identity_has_headers_of_its_own(header: str) -> None:
    [line] = faults(f'{ISSUER}[identity]\nuser = "{header}"\n')
    assert line.startswith("[identity] user: must be a header")


def test_identity_headers_are_told_apart_by_every_backend() -> None:
    assert faults(f'{ISSUER}[identity]\nuser = "X-Who"\nclient = "x_who"\n') == [
        "[identity] client: is the header of user already"
    ]


@pytest.mark.parametrize(
    ("headers", "line"),
    [
        ("'X Site' = 'a'", "[upstream.headers] 'X Site': must be a header name"),
        ("Connection = 'a'", "[upstream.headers] Connection: must not be set"),
        ('X-Site = "a\\r\\nb"', "[upstream.headers] X-Site: must have no control characters"),
        ('X-Site = "\\u0000"', "[upstream.headers] X-Site: must have no control characters"),
        ("X-Site = '€'", "[upstream.headers] X-Site: must have no control characters"),
        ("X-A = 'a', x-a = 'b'", "[upstream.headers] x-a: is the same header as X-A"),
        (
            "x_forwarded_user = 'admin'",
            "[upstream.headers] x_forwarded_user: is the header of [identity] user",
        ),
    ],
)
def test_an_added_header_that_cannot_be_sent_is_a_fault(headers: str, line: str) -> None:
    [fault] = faults(f"{ISSUER}[upstream]\nheaders = {{ {headers} }}\n")
    assert fault.startswith(line)


def test_headers_of_the_connection_are_refused_as_the_proxy_does() -> None:
    for name in HOP_BY_HOP | {"CONTENT_LENGTH", "EXPECT"}:
        assert upstream_header_fault(name.replace("_", "-").title()) is not None
    assert upstream_header_fault("Host") is None
