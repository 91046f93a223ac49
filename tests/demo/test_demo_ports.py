"""Which ports the demo takes, and what it says when it cannot have them."""

from __future__ import annotations

import socket

import pytest

from gateway.demo.addresses import listen
from gateway.server.listener import CannotListen
from tests.support.processes import free_port


@pytest.mark.parametrize("option", ["--client-port", "--backend-port"])
def test_the_ports_of_the_sites_may_be_in_use_as_well(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = (port, None) if option == "--client-port" else (free_port(), port)
        with pytest.raises(CannotListen, match=f"port {port} .* with {option}$"):
            listen(free_port(), *ports)


def test_the_backend_takes_another_port_if_nobody_named_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        usual = taken.getsockname()[1]
        monkeypatch.setattr("gateway.demo.addresses._BACKEND_PORT", usual)
        listeners = listen(free_port(), free_port(), None)
        backend = listeners.addresses(1).backend
        listeners.close()
    assert backend != f"http://127.0.0.1:{usual}"


def test_a_port_is_in_use_also_if_it_is_only_the_other_localhost() -> None:
    """Browsers look for localhost at ::1 first, where there is one."""
    try:
        other = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("there is no ::1 here")
    with other:
        port = other.getsockname()[1]
        with pytest.raises(CannotListen, match=f"port {port} .* with --client-port$"):
            listen(free_port(), port, None)


def test_one_port_cannot_be_for_two() -> None:
    with pytest.raises(CannotListen, match="--port and --client-port are both 4000"):
        listen(4000, 4000, None)
