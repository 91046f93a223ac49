"""``gateway client``: clients kept in the store, beside those in the file."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.failures import Failure
from gateway.cli.operations import CONFIG, count_of, end_grants, open_core, record
from gateway.config.grammar import GRANT_TYPES

if TYPE_CHECKING:
    from gateway.clients.registry import RegisteredClient
    from gateway.config.settings import Client, Settings


@click.group()
def client() -> None:
    """Clients kept in the store, beside those in the file."""


@client.command("add")
@CONFIG
@click.argument("client_id")
@click.option("--name", help="What the confirmation page calls it; by default the id.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Once for each.")
@click.option("--loopback-ports", is_flag=True, help="http://localhost/… is good with any port.")
@click.option("--scope", "scopes", multiple=True, help="Once for each.")
@click.option(
    "--grant-type",
    "grant_types",
    multiple=True,
    type=click.Choice(GRANT_TYPES),
    default=("authorization_code", "refresh_token"),
    show_default=True,
)
@click.option("--public", is_flag=True, help="Without a secret: an app that cannot keep one.")
@click.option("--pkce", type=click.Choice(("required", "optional")))
@click.option("--skip-consent", is_flag=True, help="Never ask the user: one of your own apps.")
@click.option(
    "--introspect-any", is_flag=True, help="May ask about any token: one of your own backends."
)
def client_add(path: Path, *, public: bool, name: str | None, **members: Any) -> None:
    """Register a client. Its secret is printed once, and only its SHA-256 is kept."""
    from gateway.tokens.token import new_secret

    if public and members["introspect_any"]:
        raise Failure("--introspect-any needs a secret, and a --public client has none")
    secret = None if public else new_secret()
    members["secret_sha256"] = sha256(secret.encode()).hexdigest() if secret else None
    with open_core(path) as (core, settings):
        if core.clients.find(members["client_id"]) is not None:
            raise Failure(f"there is a client {members['client_id']} already")
        core.clients.add(_valid_client(settings, name=name or members["client_id"], **members))
        record(settings, "client.add", client_id=members["client_id"])
    click.echo(f"client_id      {members['client_id']}")
    if secret is not None:
        click.echo(f"client_secret  {secret}")
        click.echo("The secret is shown this once and cannot be had again.", err=True)


def _valid_client(settings: Settings, **members: Any) -> Client:
    """Return the client with these members. Raises Failure if the rules say anything against it."""
    from gateway.config.file import client_faults
    from gateway.config.settings import Client

    faults = client_faults(Client.model_construct(**members), settings)
    if faults:
        raise Failure("\n".join(faults))
    return Client(**members)


@client.command("list")
@CONFIG
def client_list(path: Path) -> None:
    """List every client: its id, where it is registered, its kind and name."""
    with open_core(path) as (core, _):
        # All of them, before any is shown: half a list would look like a whole one.
        everyone = list(core.clients.all())
    for each in everyone:
        columns = (each.client.client_id, each.source, _kind(each.client), each.client.name)
        click.echo("\t".join(columns))


@client.command("show")
@CONFIG
@click.argument("client_id")
def client_show(path: Path, client_id: str) -> None:
    """Show how a client is registered; never its secret."""
    with open_core(path) as (core, settings):
        found = core.clients.find(client_id)
    if found is None:
        raise Failure(f"there is no client {client_id}")
    for name, value in _lines(found, settings):
        click.echo(f"{name:<14} {value}")


def _lines(found: RegisteredClient, settings: Settings) -> tuple[tuple[str, str], ...]:
    from gateway.clients.registry import requires_pkce

    shown = found.client
    return (
        ("client_id", shown.client_id),
        ("name", shown.name),
        ("registered in", found.source),
        ("kind", _kind(shown)),
        ("redirect_uris", " ".join(shown.redirect_uris)),
        ("scopes", " ".join(shown.scopes)),
        ("grant_types", " ".join(shown.grant_types)),
        ("pkce", "required" if requires_pkce(shown, settings.provider) else "optional"),
        ("skip_consent", "yes" if shown.skip_consent else "no"),
        ("introspect_any", "yes" if shown.introspect_any else "no"),
    )


def _kind(shown: Client) -> str:
    return "public" if shown.secret_sha256 is None else "confidential"


@client.command("remove")
@CONFIG
@click.argument("client_id")
def client_remove(path: Path, client_id: str) -> None:
    """Remove a client from the store, and end all its grants."""
    with open_core(path) as (core, settings):
        if core.clients.in_file(client_id):
            raise Failure(f"{client_id} is registered in {path}; take it out there")
        removed = core.clients.remove(client_id)
        if removed:
            record(settings, "client.remove", client_id=client_id)
        # All of it also where it is gone already: the store may have fallen silent half way.
        core.consents.forget_client(client_id)
        ended = end_grants(core, settings, client_id=client_id)
        if not removed and not ended:
            raise Failure(f"there is no client {client_id}")
    click.echo(f"removed {client_id}; ended {count_of(ended, 'grant')}")
