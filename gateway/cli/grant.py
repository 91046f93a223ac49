"""``gateway grant``: what users have allowed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.operations import CONFIG, count_of, end_grants, open_core, record

if TYPE_CHECKING:
    from gateway.assembly import Core
    from gateway.tokens.grant import Grant

_USER = click.option("--user", help="This user's.")
_CLIENT = click.option("--client", "client_id", help="This client's.")


@click.group()
def grant() -> None:
    """What users have allowed."""


@grant.command("list")
@CONFIG
@_USER
@_CLIENT
def grant_list(path: Path, user: str | None, client_id: str | None) -> None:
    """List live grants: id, client, user, since, last used, scope."""
    _require_one(user, client_id)
    with open_core(path) as (core, _):
        for each in core.grants.live_grants(user=user, client_id=client_id):
            click.echo(_line(each))


@grant.command("revoke")
@CONFIG
@_USER
@_CLIENT
@click.option("--sessions", is_flag=True, help="Also sign the user out in every browser.")
def grant_revoke(path: Path, user: str | None, client_id: str | None, *, sessions: bool) -> None:
    """End grants; their tokens are refused from this moment on.

    Codes on their way end too. Sign-in sessions go on, unless --sessions ends the user's.
    """
    _require_one(user, client_id)
    if sessions and (user is None or client_id is not None):
        raise click.UsageError("--sessions goes with --user, and without --client")
    with open_core(path) as (core, settings):
        ended = end_grants(core, settings, user=user, client_id=client_id)
        # Or a client would have a new grant at once, and nobody would be asked.
        _forget_consents(core, user, client_id)
        if sessions and user is not None:
            core.sessions.end_all(user)
            record(settings, "sign_out", user=user)
    click.echo(
        f"ended {count_of(ended, 'grant')}" + _about_sessions(user, client_id, ended=sessions)
    )


@grant.command("repair")
@CONFIG
def grant_repair(path: Path) -> None:
    """List every live grant again, so that list and revoke find it; after a failover."""
    from gateway.grants.index_repair import list_live_grants_again

    with open_core(path) as (core, _):
        count = list_live_grants_again(core.redis, core.store)
    click.echo(f"listed {count_of(count, 'live grant')}")


def _about_sessions(user: str | None, client_id: str | None, *, ended: bool) -> str:
    if user is None or client_id is not None:
        return ""
    return ", and every sign-in session" if ended else "; sign-in sessions go on (--sessions)"


def _require_one(user: str | None, client_id: str | None) -> None:
    if user is None and client_id is None:
        raise click.UsageError("say whose: --user or --client")


def _forget_consents(core: Core, user: str | None, client_id: str | None) -> None:
    if client_id is None:
        core.consents.forget_user(user or "")
    elif user is None:
        core.consents.forget_client(client_id)
    elif (registered := core.clients.find(client_id)) is not None:
        core.consents.forget(user, registered.client)


def _line(shown: Grant) -> str:
    since, used = (
        datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
        for seconds in (shown.since, shown.used)
    )
    columns = (shown.grant_id, shown.client_id, shown.user or "-", since, used, shown.scope)
    return "\t".join(columns)
