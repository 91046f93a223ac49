"""Interim responses of the backend reach a client that understands them (RFC 9110 §15.2)."""

from __future__ import annotations

import threading

import pytest

from .conftest import RunningGateway
from .wire import OK, Backend, Client, Peer

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"


@pytest.fixture
def client(gateway: RunningGateway, backend: Backend) -> Client:
    """Return a client of the product's own server, which alone can send interim responses."""
    if not gateway.own_server:
        pytest.skip("this server sends none")
    return gateway.connect()


def test_103_reaches_the_client_before_the_response(client: Client, backend: Backend) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EARLY_HINTS)
        go_on.wait(5)
        peer.send(OK)

    backend.script = script
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

    hints = client.read_answer()
    go_on.set()
    answer = client.read_answer()

    assert (hints.status, hints.reason) == (103, b"Early Hints")
    assert hints.values("Link") == ["</a.css>; rel=preload"]
    assert (answer.status, answer.body, answer.values("Link")) == (200, b"ok", [])


@pytest.mark.parametrize(
    "interim",
    [
        pytest.param(b"102 Processing", id="102"),
        pytest.param(b"104 Upload Resumption Supported", id="104"),
        pytest.param(b"199 ", id="one that nobody knows yet"),
    ],
)
def test_so_does_every_other_one(client: Client, backend: Backend, interim: bytes) -> None:
    backend.answers(b"HTTP/1.1 " + interim + b"\r\n\r\n" + EARLY_HINTS + OK)
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

    statuses = [client.read_answer().status for _ in range(3)]

    assert statuses == [int(interim[:3]), 103, 200]


def test_a_response_comes_after_one_on_a_connection_that_is_kept(
    client: Client, backend: Backend
) -> None:
    backend.answers(EARLY_HINTS + OK)
    for _ in range(3):
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert [client.read_answer().status for _ in range(2)] == [103, 200]


def test_its_framing_and_hop_by_hop_fields_end_here(client: Client, backend: Backend) -> None:
    backend.answers(
        b"HTTP/1.1 103 Early Hints\r\nConnection: X-Private\r\nX-Private: a\r\nKeep-Alive: 5\r\n"
        b"Content-Length: 9\r\nLink: </a>\r\n\r\n" + OK
    )
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

    assert client.read_answer().fields == [("Link", "</a>")]
    assert client.read_answer().body == b"ok"


def test_http_1_0_gets_none(gateway: RunningGateway, backend: Backend) -> None:
    backend.answers(EARLY_HINTS + OK)

    answer = gateway.exchange(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")

    assert (answer.status, answer.body) == (200, b"ok")


def test_100_is_swallowed(gateway: RunningGateway, backend: Backend) -> None:
    """The gateway answers Expect itself, so no client waits for it."""
    backend.answers(b"HTTP/1.1 100 Continue\r\nLink: </a>\r\n\r\n" + OK)

    answer = gateway.get()

    assert (answer.status, answer.body, answer.values("Link")) == (200, b"ok", [])


def test_a_backend_that_sends_no_other_ones_is_given_up(
    gateway: RunningGateway, backend: Backend
) -> None:
    backend.answers(b"HTTP/1.1 102 Processing\r\n\r\n" * 5000)
    client = gateway.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")

    while (answer := client.read_answer()).status == 102:
        pass

    assert answer.status == 502


def test_a_reason_with_control_characters_is_a_502(
    gateway: RunningGateway, backend: Backend
) -> None:
    backend.answers(b"HTTP/1.1 103 Early\x7fHints\r\n\r\n" + OK)

    assert gateway.get().status == 502
