"""Event streams may be silent for as long as they like, or as the operator likes."""

from __future__ import annotations

import time

import pytest

from .conftest import Gateway
from .wire import Backend, Peer

#: Twice the time limit of the proxies here.
SILENCE_SECONDS = 1.0
EVENT = b"data: 1\n\n"


def answer_with_a_pause(backend: Backend, content_type: bytes, *, chunked: bool) -> None:
    framing = b"Transfer-Encoding: chunked" if chunked else b"Connection: close"
    event = b"9\r\n" + EVENT + b"\r\n" if chunked else EVENT

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: ", content_type, b"\r\n", framing)
        peer.send(b"\r\n\r\n", event)
        time.sleep(SILENCE_SECONDS)
        peer.send(event, b"0\r\n\r\n" if chunked else b"")

    backend.script = script


@pytest.mark.parametrize("chunked", [True, False], ids=["chunks", "until it closes"])
@pytest.mark.parametrize(
    "content_type", [b"text/event-stream", b"Text/Event-Stream; charset=utf-8"]
)
def test_a_silent_event_stream_is_not_cut(
    gateway: Gateway, backend: Backend, content_type: bytes, chunked: bool
) -> None:
    answer_with_a_pause(backend, content_type, chunked=chunked)

    answer = gateway.get(proxy="impatient")

    assert (answer.body, answer.complete) == (EVENT * 2, True)


def test_any_other_response_is(gateway: Gateway, backend: Backend) -> None:
    answer_with_a_pause(backend, b"text/plain", chunked=True)

    assert not gateway.get(proxy="impatient").complete


def test_the_head_of_an_event_stream_has_to_come_in_time(
    gateway: Gateway, backend: Backend
) -> None:
    backend.stays_silent_after(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")

    assert gateway.get(proxy="impatient").status == 504


def test_the_operator_may_limit_the_silence(gateway: Gateway, backend: Backend) -> None:
    answer_with_a_pause(backend, b"text/event-stream", chunked=True)

    assert not gateway.get(proxy="impatient with streams").complete


def test_a_backend_that_vanishes_from_a_silent_stream_is_noticed(
    gateway: Gateway, backend: Backend
) -> None:
    """Here it closes. Where nothing comes any more at all, TCP's keepalive does the same."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        peer.send(b"Transfer-Encoding: chunked\r\n\r\n9\r\n", EVENT, b"\r\n")
        time.sleep(SILENCE_SECONDS)

    backend.script = script

    assert not gateway.get(proxy="impatient").complete
