"""Which address a request comes from: in the audit log, in the limits, and to the backend."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count

import pytest

from gateway.http.forwarded import for_nodes, node_address
from tests.access.echoed import TRUSTED_PROXY, told
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway, running_gateway

_CALLS = count()


@pytest.fixture(scope="module")
def dual_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """A gateway that listens on IPv6, so that it sees IPv4 peers as mapped addresses."""
    replace = (
        ('listen = "127.0.0.1:', 'listen = "[::]:'),
        ('"127.0.0.2", "10.0.0.0/8"', '"::ffff:127.0.0.2", "::ffff:10.0.0.0/104"'),
        ("client_attempts = 1000", "client_attempts = 3"),
    )
    folder = tmp_path_factory.mktemp("dual-stack")
    with running_gateway("standalone", folder, replace=replace) as gateway:
        yield gateway


def address_told(gateway: RunningGateway, *headers: str, source: str) -> tuple[str, list[str]]:
    """Return the address in the audit log, and X-Forwarded-For as the backend gets it."""
    path = f"/public/address-{next(_CALLS)}"
    answer = request(gateway.port, path, *headers, source=source)
    assert answer.status == 200, answer
    lines = map(json.loads, gateway.audit.read_text().splitlines())
    return next(line["address"] for line in lines if line.get("path") == path), told(
        answer.json(), "X-Forwarded-For"
    )


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("X-Forwarded-For: 203.0.113.7:4711", "203.0.113.7"),
        ("X-Forwarded-For: [2001:db8::7]", "2001:db8::7"),
        ("X-Forwarded-For: [2001:db8::7]:4711", "2001:db8::7"),
        ('X-Forwarded-For: "[2001:db8::7]:4711"', "2001:db8::7"),
        ('X-Forwarded-For: "203.0.113.7"', "203.0.113.7"),
        ("X-Forwarded-For: 2001:DB8:0::7", "2001:db8::7"),
        ("X-Forwarded-For: fe80::7%eth0", "fe80::7"),
        ("X-Forwarded-For: ::ffff:203.0.113.7", "203.0.113.7"),
        ("X-Forwarded-For: [::ffff:203.0.113.7]:4711", "203.0.113.7"),
        ('Forwarded: for="[2001:db8::7]:4711"', "2001:db8::7"),
        ("Forwarded: For=203.0.113.7:4711;proto=https;by=10.0.0.1", "203.0.113.7"),
        ('Forwarded: for="203.0.113.7:_port"; host="a,b"', "203.0.113.7"),
    ],
)
def test_a_client_has_an_address_without_port_and_brackets(
    dual_stack: RunningGateway, line: str, address: str
) -> None:
    logged, forwarded_for = address_told(dual_stack, line, source=TRUSTED_PROXY)
    assert logged == address
    assert forwarded_for == [f"{address}, {TRUSTED_PROXY}"]


@pytest.mark.parametrize(
    "line",
    [
        "X-Forwarded-For: unknown",
        "X-Forwarded-For: _hidden",
        "X-Forwarded-For: 203.0.113.7:99999999",
        "X-Forwarded-For: 127.1",
        "Forwarded: by=203.0.113.7",
        "Forwarded: for=203.0.113.7,",
    ],
)
def test_what_is_no_address_leaves_the_address_of_the_proxy(
    dual_stack: RunningGateway, line: str
) -> None:
    assert address_told(dual_stack, line, source=TRUSTED_PROXY)[0] == TRUSTED_PROXY


def test_a_quotation_mark_that_a_client_left_open_hides_no_word_of_the_proxy(
    dual_stack: RunningGateway,
) -> None:
    line = 'Forwarded: for=198.51.100.1;by="x, for="[2001:db8::7]:4711"'
    logged, forwarded_for = address_told(dual_stack, line, source=TRUSTED_PROXY)
    assert logged == "2001:db8::7"
    assert forwarded_for == [f"2001:db8::7, {TRUSTED_PROXY}"]


def test_a_peer_that_the_server_sees_as_a_mapped_address_has_its_ipv4_address(
    dual_stack: RunningGateway,
) -> None:
    forged = "X-Forwarded-For: 203.0.113.7"
    logged, forwarded_for = address_told(dual_stack, forged, source="127.0.0.3")
    assert (logged, forwarded_for) == ("127.0.0.3", ["127.0.0.3"])


def test_scheme_and_host_of_forwarded_reach_a_backend_that_reads_the_older_fields(
    dual_stack: RunningGateway,
) -> None:
    line = 'Forwarded: for=203.0.113.7;host="shop.example:8443";proto=https, for=10.1.2.3'
    answer = request(dual_stack.port, "/public/x", line, source=TRUSTED_PROXY).json()
    assert told(answer, "X-Forwarded-For") == [f"203.0.113.7, 10.1.2.3, {TRUSTED_PROXY}"]
    assert told(answer, "X-Forwarded-Host") == ["shop.example:8443"]
    assert told(answer, "X-Forwarded-Proto") == ["https"]


def test_one_guesser_behind_a_proxy_locks_out_nobody_else(dual_stack: RunningGateway) -> None:
    def guess(node: str, port: int) -> int:
        body = b"grant_type=client_credentials&client_id=service&client_secret=wrong"
        form = "Content-Type: application/x-www-form-urlencoded"
        line = f"X-Forwarded-For: {node}:{port}"
        options = {"method": "POST", "body": body, "source": TRUSTED_PROXY}
        return request(dual_stack.port, "/oauth/token", form, line, **options).status  # type: ignore[arg-type]

    assert [guess("203.0.113.99", port) for port in range(5)] == [401, 401, 401, 429, 429]
    assert guess("[::ffff:203.0.113.99]", 9) == 429
    assert guess("203.0.113.98", 1) == 401


def test_a_long_field_is_read_in_linear_time() -> None:
    """Every one of these takes seconds where each comma is tried with all that is behind it."""
    for text in (',x="', ",", ',x="\\",', "a=b;"):
        assert sum(1 for _ in for_nodes(text * 16_000 + '"')) <= 16_000
    assert node_address("[" * 60_000) is None
