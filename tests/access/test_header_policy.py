"""Every list of the header policy does at a running gateway what it says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from gateway.config.grammar import identity_header_fault, upstream_header_fault
from gateway.http.header_policy import (
    FRAMING,
    HOP_BY_HOP,
    NEVER_FROM_CLIENTS,
    NOT_FOR_IDENTITY,
    REFUSED_METHODS,
    TRUSTED_PROXY_ONLY,
    TRUSTED_PROXY_ONLY_BEGINNINGS,
    WRITTEN_BY_GATEWAY,
    fold,
)
from tests.support.raw import request
from tests.support.running_gateway import RunningGateway

STRANGER, TRUSTED_PROXY = "127.0.0.1", "127.0.0.2"
#: What the server in front understands as a part of the request itself.
PARTS_OF_A_REQUEST = {"Connection", "Content-Length", "Content-Type", "Host", "Transfer-Encoding"}
#: Only this value is for the server; another one is an error.
VALUES = {"Expect": "100-continue"}


def spellings(names: Iterable[str]) -> list[str]:
    """Return each name as clients write it, and as a careless backend would read it too."""
    return sorted(
        {name.replace("_", separator).title() for name in names for separator in ("-", ".")}
    )


def headers_of_their_own(names: Iterable[str]) -> list[str]:
    """Return the spellings of names that no server takes for a part of the request itself."""
    return [name for name in spellings(names) if name not in PARTS_OF_A_REQUEST]


def received(gateway: RunningGateway, name: str, source: str = STRANGER) -> list[str]:
    """Return what the backend got of a header that a client sent, in whatever spelling."""
    line = f"{name}: {VALUES.get(name, 'of-the-client')}"
    echoed: dict[str, Any] = request(gateway.port, "/public/x", line, source=source).json()
    return [value for key, value in echoed["headers"] if fold(key) == fold(name)]


@pytest.mark.parametrize("name", headers_of_their_own(HOP_BY_HOP))
def test_no_hop_by_hop_field_reaches_the_backend(standalone: RunningGateway, name: str) -> None:
    """RFC 9110 §7.6.1."""
    for source in (STRANGER, TRUSTED_PROXY):
        assert received(standalone, name, source) == []


@pytest.mark.parametrize("name", headers_of_their_own(WRITTEN_BY_GATEWAY - {"VIA"}))
def test_what_the_gateway_writes_no_client_writes(standalone: RunningGateway, name: str) -> None:
    """Via is the one field that the gateway adds to (RFC 9110 §7.6.3)."""
    assert "of-the-client" not in "".join(received(standalone, name))


@pytest.mark.parametrize("name", spellings(NEVER_FROM_CLIENTS))
def test_some_names_reach_the_backend_from_nobody(gateway: RunningGateway, name: str) -> None:
    for source in (STRANGER, TRUSTED_PROXY):
        assert received(gateway, name, source) == []


@pytest.mark.parametrize("name", spellings(TRUSTED_PROXY_ONLY))
def test_some_names_reach_the_backend_from_a_trusted_proxy_alone(
    gateway: RunningGateway, name: str
) -> None:
    assert received(gateway, name, STRANGER) == []
    assert received(gateway, name, TRUSTED_PROXY) == ["of-the-client"]


@pytest.mark.parametrize(
    "name", spellings(f"{each.rstrip('_')}_ANYTHING" for each in TRUSTED_PROXY_ONLY_BEGINNINGS)
)
def test_the_reverse_proxy_takes_names_that_begin_so_from_a_trusted_proxy_alone(
    gateway: RunningGateway, name: str
) -> None:
    """A wrapped application has a server of its own, which knows its proxies."""
    from_stranger = [] if gateway.mode == "standalone" else ["of-the-client"]
    assert received(gateway, name, STRANGER) == from_stranger
    assert received(gateway, name, TRUSTED_PROXY) == ["of-the-client"]


@pytest.mark.parametrize("method", sorted(REFUSED_METHODS))
def test_some_methods_are_forwarded_neither_here_nor_by_another_proxy(
    standalone: RunningGateway, method: str
) -> None:
    assert request(standalone.port, "/public/x", method=method).status == 501
    original = ("X-Original-URI: /public/x", f"X-Original-Method: {method}")
    asked = request(standalone.port, "/oauth/verify", *original, source=TRUSTED_PROXY)
    assert asked.status == 403


@pytest.mark.parametrize("name", spellings(FRAMING))
def test_no_operator_sets_what_frames_a_message(name: str) -> None:
    assert upstream_header_fault(name) is not None


@pytest.mark.parametrize("name", spellings(NOT_FOR_IDENTITY))
def test_no_identity_has_a_name_that_means_something_else(name: str) -> None:
    assert identity_header_fault(name) is not None
