"""What `gateway check` proposes about a configuration without faults."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.config.settings import Settings
from gateway.protocol.redirect_uris import names_localhost_without_port


def proposals(settings: Settings) -> Iterator[str]:
    """Yield a sentence for each setting that is allowed and seldom meant."""
    yield from loopback_ports_for_localhost(settings)


def loopback_ports_for_localhost(settings: Settings) -> Iterator[str]:
    """RFC 8252 §7.3: a native application picks its port, and §8.3 knows no port of localhost."""
    for client in settings.clients:
        uris = filter(names_localhost_without_port, client.redirect_uris)
        if not client.loopback_ports and (uri := next(uris, None)) is not None:
            yield (
                f"[[clients]] {client.client_id}: {uri} is good for port 80 alone;"
                " set loopback_ports = true, or register http://127.0.0.1, if the application"
                " picks a port when it starts"
            )
