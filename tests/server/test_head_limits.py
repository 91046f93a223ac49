"""The head of a request has limits: bytes, lines and time. Work grows with its size, no faster."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, NoMoreData
from gunicorn.http.unreader import IterUnreader, Unreader

from gateway.config.file import load_config
from gateway.server import head_reader
from gateway.server.head_reader import HEAD_BYTES
from gateway.server.parse_errors import HeadTimeout
from gateway.server.request import ClientRequest
from gateway.server.standalone import StandaloneGateway
from tests.support.running_gateway import write_settings

PEER = ("127.0.0.1", 4000)
FIRST_LINES = b"GET /x HTTP/1.1\r\nHost: h\r\n"


@pytest.fixture(scope="module")
def cfg(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Return gunicorn's settings as the standalone gateway has them."""
    file = write_settings(tmp_path_factory.mktemp("settings"), port=1)
    settings = load_config(file)
    return StandaloneGateway(lambda: settings).cfg


class CountingUnreader(IterUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Counts the bytes that were taken off the connection."""

    taken = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        data: bytes = super().chunk(size_hint)
        self.taken += len(data)
        return data


def in_pieces(data: bytes, size: int = 8192) -> CountingUnreader:
    return CountingUnreader([data[start : start + size] for start in range(0, len(data), size)])


def head_of(size: int, line: bytes = b"X-A: " + b"b" * 15_000 + b"\r\n") -> bytes:
    """Return a complete head of ``size`` bytes."""
    head = FIRST_LINES + line * ((size - len(FIRST_LINES) - 12) // len(line))
    return head + b"X-Pad: " + b"c" * (size - len(head) - 11) + b"\r\n\r\n"


@pytest.mark.parametrize("piece", [100, 8192, 10**6])
def test_a_head_may_have_64_kb_in_all(cfg: Config, piece: int) -> None:
    request = ClientRequest(cfg, in_pieces(head_of(HEAD_BYTES), piece), PEER)
    assert len(request.headers) == 6
    with pytest.raises(LimitRequestHeaders):
        ClientRequest(cfg, in_pieces(head_of(HEAD_BYTES + 1), piece), PEER)


def test_reading_stops_at_the_limit(cfg: Config) -> None:
    endless = FIRST_LINES + (b"X-A: " + b"b" * 15_000 + b"\r\n") * 1000
    unreader = in_pieces(endless)
    with pytest.raises(LimitRequestHeaders):
        ClientRequest(cfg, unreader, PEER)
    assert unreader.taken <= HEAD_BYTES + 8192


def test_fields_that_are_dropped_count_too(cfg: Config) -> None:
    """Gunicorn's parser would go on for as long as names with an underscore come."""
    with pytest.raises(LimitRequestHeaders):
        ClientRequest(cfg, in_pieces(FIRST_LINES + b"_: x\r\n" * 200 + b"\r\n"), PEER)


def test_connection_has_a_limit_of_its_own(cfg: Config) -> None:
    """Each of its options is looked up among the fields (RFC 9110 §7.6.1)."""
    options = b"Connection: " + b"a," * 1000 + b"\r\n"
    ClientRequest(cfg, in_pieces(FIRST_LINES + options * 2 + b"\r\n"), PEER)
    with pytest.raises(LimitRequestHeaders):
        ClientRequest(cfg, in_pieces(FIRST_LINES + options * 5 + b"\r\n"), PEER)


@pytest.mark.parametrize("rest", [b"", b" HTTP/1.1\r\nHost: h\r\n\r\n"])
def test_a_request_line_without_an_end_is_refused_early(cfg: Config, rest: bytes) -> None:
    unreader = in_pieces(b"GET /" + b"a" * 20_000 + rest)
    with pytest.raises(LimitRequestLine):
        ClientRequest(cfg, unreader, PEER)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"GET / HTTP/1.1\nHost: h\n", id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\nX", id="bare LF behind the request line"),
        pytest.param(b"\n\n", id="bare LFs alone"),
        pytest.param(b"GET /\r\nHost: h\r\n", id="HTTP/0.9"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\r\n", id="TLS"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="SSH"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
    ],
)
def test_a_beginning_that_cannot_become_a_head_is_refused_at_once(
    cfg: Config, begun: bytes
) -> None:
    class Waits(IterUnreader):  # type: ignore[misc]  # gunicorn has no types
        def chunk(self, size_hint: int | None = None) -> bytes:
            data: bytes = super().chunk(size_hint)
            assert data, "the rest of the head was waited for"
            return data

    with pytest.raises(Exception) as refused:  # noqa: PT011 - each has an error of its own
        ClientRequest(cfg, Waits([begun]), PEER)
    assert not isinstance(refused.value, AssertionError | NoMoreData)


def test_a_head_has_to_come_in_time(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_reader, "HEAD_SECONDS", 0.05)

    class Drips(Unreader):  # type: ignore[misc]  # gunicorn has no types
        def chunk(self, size_hint: int | None = None) -> bytes:
            head_reader.gevent.sleep(0.01)  # type: ignore[attr-defined]  # as a socket waits
            return b"G"

    with pytest.raises(HeadTimeout):
        ClientRequest(cfg, Drips(), PEER)


# --- Time: four times as much takes about four times as long, not sixteen


def seconds_for(cfg: Config, data: bytes, piece: int) -> float:
    unreader = in_pieces(data, piece)
    started = time.process_time()
    with suppress(LimitRequestHeaders, NoMoreData):
        ClientRequest(cfg, unreader, PEER)
    return time.process_time() - started


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        pytest.param(lambda size: head_of(size, b"X-A: " + b"b" * 900 + b"\r\n"), 64, id="pieces"),
        pytest.param(lambda size: head_of(size, b"_:\r\n"), 8192, id="tiny lines"),
        pytest.param(lambda size: FIRST_LINES + b"a" * size, 512, id="a line without an end"),
    ],
)
def test_time_grows_with_the_size_of_the_head_and_no_faster(
    cfg: Config, head: Callable[[int], bytes], piece: int
) -> None:
    few = min(seconds_for(cfg, head(15_000), piece) for _ in range(5))
    many = min(seconds_for(cfg, head(60_000), piece) for _ in range(5))

    assert many < 10 * few
