"""What several commands need: the configuration file, the store behind it, and the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.failures import Failure, words_for_errors
from gateway.protocol.reasons import Why

if TYPE_CHECKING:
    from gateway.assembly import Core
    from gateway.config.settings import Settings

CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("gateway.toml"),
    envvar="GATEWAY_CONFIG",
    show_default=True,
    help="The configuration file.",
)


@contextmanager
def open_core(path: Path) -> Iterator[tuple[Core, Settings]]:
    """Give what decides about grants, connected to its store, and the settings of the file."""
    from gateway import assembly
    from gateway.config.file import load_config
    from gateway.store.fault_words import fault_words
    from gateway.store.format_check import claim_format
    from gateway.store.redis_client import StoreUnavailable

    with words_for_errors():
        settings = load_config(path)
        core = assembly.core(settings)
        core.redis.open()
        try:
            claim_format(core.redis, settings.store.key_prefix)
            yield core, settings
        except StoreUnavailable as error:
            words = fault_words(error, settings.store)
            raise Failure(f"the store does not answer ({words})") from None
        finally:
            core.redis.close()


def record(settings: Settings, event: str, **about: str | None) -> None:
    """Write a line to the audit log: the command line did this."""
    from gateway.observe.audit import Audit

    Audit(settings.audit).record(event, outcome="allowed", why=Why.COMMAND_LINE, **about)


def end_grants(
    core: Core, settings: Settings, *, user: str | None = None, client_id: str | None
) -> int:
    """End the grants of a user, of a client, or of both; return how many there were."""
    count = 0
    for each in core.grants.end_all(user=user, client_id=client_id):
        record(
            settings,
            "grant.revoke",
            user=each.user,
            client_id=each.client_id,
            grant_id=each.grant_id,
        )
        count += 1
    return count


def count_of(number: int, noun: str) -> str:
    """Return a number with its noun: 1 grant, 2 grants."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
