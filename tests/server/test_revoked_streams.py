"""A response that is under way ends soon after its token is revoked."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.parties import Parties, Tokens, signed_in_browser
from tests.support.serving import PATIENCE_SECONDS, Served, serving

#: Ten seconds would be long for a test.
RECHECK_SECONDS = 0.3
PATCHES = f"""
import gateway.proxy.http1
gateway.proxy.http1.RECHECK_SECONDS = {RECHECK_SECONDS}
"""


@pytest.fixture(scope="module")
def served(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("revoked"), backend, PATCHES) as running:
        yield running


@pytest.fixture(scope="module")
def parties(served: Served) -> Parties:
    return Parties(served.url, signed_in_browser(served.url))


@pytest.fixture
def tokens(parties: Parties) -> Tokens:
    return parties.tokens(parties.public)


@contextmanager
def response_to(served: Served, target: str, token: str) -> Iterator[socket.socket]:
    """Send a request and read the beginning of the response's body."""
    with socket.create_connection(("127.0.0.1", served.port), PATIENCE_SECONDS) as client:
        lines = (f"GET {target} HTTP/1.1", "Host: h", f"Authorization: Bearer {token}", "", "")
        client.sendall("\r\n".join(lines).encode())
        received = b""
        while len(received.partition(b"\r\n\r\n")[2]) < 10:
            received += client.recv(65_536)
        assert received.startswith(b"HTTP/1.1 200 ")
        yield client


def rest_of(client: socket.socket) -> bytes:
    rest = b""
    while data := client.recv(65_536):
        rest += data
    return rest


@pytest.mark.parametrize("every", [0, 50], ids=["silent", "lively"])
def test_an_event_stream_breaks_off(
    served: Served, parties: Parties, tokens: Tokens, every: int
) -> None:
    with response_to(served, f"/events/{every}", tokens.access) as client:
        assert parties.public.revoke(tokens.access).status_code == 200
        assert not rest_of(client).endswith(b"0\r\n\r\n")


def test_a_download_that_is_taken_slowly_breaks_off(
    served: Served, parties: Parties, tokens: Tokens
) -> None:
    size = 100_000_000
    with response_to(served, f"/bytes/{size}", tokens.access) as client:
        assert parties.public.revoke(tokens.access).status_code == 200
        time.sleep(2 * RECHECK_SECONDS)
        assert len(rest_of(client)) < size


@pytest.mark.parametrize("ended", ["refresh token", "another token"])
def test_so_it_does_when_the_grant_ends_and_only_then(
    served: Served, parties: Parties, tokens: Tokens, ended: str
) -> None:
    revoked = tokens.refresh if ended == "refresh token" else parties.tokens(parties.public).access
    with response_to(served, "/events/50", tokens.access) as client:
        assert parties.public.revoke(revoked).status_code == 200
        if ended == "refresh token":
            assert not rest_of(client).endswith(b"0\r\n\r\n")
            return
        deadline = time.monotonic() + 4 * RECHECK_SECONDS
        while time.monotonic() < deadline:
            assert client.recv(65_536)


def test_a_stream_of_a_public_route_has_no_token_to_lose(served: Served) -> None:
    with response_to(served, "/public/events/50", "anything") as client:
        deadline = time.monotonic() + 4 * RECHECK_SECONDS
        while time.monotonic() < deadline:
            assert client.recv(65_536)


def test_a_token_that_expires_ends_no_stream(
    backend: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A download may well take longer than an access token lives."""
    folder = tmp_path_factory.mktemp("expiring")
    with serving(folder, backend, PATCHES, tokens="access_seconds = 1") as served:
        parties = Parties(served.url, signed_in_browser(served.url))
        access = parties.tokens(parties.public).access
        with response_to(served, "/events/50", access) as client:
            deadline = time.monotonic() + 2.5
            while time.monotonic() < deadline:
                assert client.recv(65_536)
            assert parties.public.get("/x", access).status_code == 401
