"""The command ``gateway``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from gateway import assembly
from gateway.clients.registry import requires_pkce
from gateway.config.file import ConfigError, client_faults, load_config
from gateway.config.grammar import listen_fault
from gateway.config.settings import GRANT_TYPES, Client, Settings
from gateway.grants.index_repair import list_live_grants_again
from gateway.observe.audit import Audit
from gateway.store.diagnostics import store_warnings
from gateway.store.embedded import EmbeddedStoreError
from gateway.store.redis_client import StoreUnavailable
from gateway.tokens.grant import Grant
from gateway.tokens.token import new_secret
from gateway.users.passwords import hash_password

_CONFIG = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("gateway.toml"),
    envvar="GATEWAY_CONFIG",
    show_default=True,
    help="The configuration file.",
)

_PORT = click.IntRange(1, 65_535)


class _Failure(click.ClickException):
    """Something the operator can mend: said in words, without a traceback."""

    exit_code = 2


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="oauth-gateway")
def main() -> None:
    """An OAuth 2.0 authorization gateway in front of any backend."""


@main.command()
@_CONFIG
@click.option("--listen", metavar="HOST:PORT", help="In place of server.listen.")
def serve(path: Path, listen: str | None) -> None:
    """Run the standalone gateway, a reverse proxy in front of upstream.url."""
    try:
        from gateway.server import standalone  # noqa: PLC0415 - needs the extra "server"
    except ImportError as error:
        raise _Failure(
            f"{error.name} is missing: install the extra, pip install '.[server]'"
        ) from None
    with _words_for_errors():
        if listen is not None and listen_fault(listen):
            raise _Failure(f"--listen {listen}: {listen_fault(listen)}")
        try:
            standalone.serve(lambda: standalone.with_listen(load_config(path), listen))
        except standalone.CannotListen as error:
            raise _Failure(str(error)) from None


@main.command()
@_CONFIG
@click.option("--store", "ask_store", is_flag=True, help="Also ask the store how it is set up.")
def check(path: Path, *, ask_store: bool) -> None:
    """Say every fault of the configuration file; exit status 2 if there is one.

    With --store also if the store does not answer. What about it can lose grants is said, and
    is no fault.
    """
    with _words_for_errors():
        settings = load_config(path)
    click.echo(
        f"{path}: no fault. {_count(len(settings.clients), 'client')},"
        f" {_count(len(settings.routes), 'route')}, {_count(len(settings.sign_in.users), 'user')}."
    )
    if ask_store:
        with _core(path) as (core, _):
            warnings = store_warnings(core.redis)
        for warning in warnings:
            click.echo(f"warning: store {warning.server}: {warning.text}")
        click.echo(f"the store answers. {_count(len(warnings), 'warning')}.")


@main.command("hash-password")
@click.password_option(help="Asked for if it is left out.")
def hash_password_command(password: str) -> None:
    """Hash a password for [[sign_in.users]]."""
    click.echo(hash_password(password))


@main.command("new-secret")
def new_secret_command() -> None:
    """Print a fresh secret_key."""
    click.echo(new_secret())


@main.group()
def client() -> None:
    """Clients kept in the store, beside those in the file."""


@client.command("add")
@_CONFIG
@click.argument("client_id")
@click.option("--name", help="What the confirmation page calls it; by default the id.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, help="Once for each.")
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
    if public and members["introspect_any"]:
        raise _Failure("--introspect-any needs a secret, and a --public client has none")
    secret = None if public else new_secret()
    registered = Client(
        name=name or members["client_id"],
        secret_sha256=sha256(secret.encode()).hexdigest() if secret else None,
        **members,
    )
    with _core(path) as (core, settings):
        if core.clients.find(registered.client_id) is not None:
            raise _Failure(f"there is a client {registered.client_id} already")
        faults = client_faults(registered, settings)
        if faults:
            raise _Failure("\n".join(faults))
        core.clients.add(registered)
        _record(settings, "client.add", client_id=registered.client_id)
    click.echo(f"client_id      {registered.client_id}")
    if secret is not None:
        click.echo(f"client_secret  {secret}")
        click.echo("The secret is shown this once and cannot be had again.", err=True)


@client.command("list")
@_CONFIG
def client_list(path: Path) -> None:
    """List every client: its id, where it is registered, its kind and name."""
    with _core(path) as (core, _):
        # All of them, before any is shown: half a list would look like a whole one.
        everyone = list(core.clients.all())
    for each in everyone:
        kind = "public" if each.client.secret_sha256 is None else "confidential"
        click.echo(f"{each.client.client_id}\t{each.registered}\t{kind}\t{each.client.name}")


@client.command("show")
@_CONFIG
@click.argument("client_id")
def client_show(path: Path, client_id: str) -> None:
    """Show how a client is registered; never its secret."""
    with _core(path) as (core, settings):
        found = core.clients.find(client_id)
    if found is None:
        raise _Failure(f"there is no client {client_id}")
    shown = found.client
    kind = "public" if shown.secret_sha256 is None else "confidential"
    for name, value in (
        ("client_id", shown.client_id),
        ("name", shown.name),
        ("registered in", found.registered),
        ("kind", kind),
        ("redirect_uris", " ".join(shown.redirect_uris)),
        ("scopes", " ".join(shown.scopes)),
        ("grant_types", " ".join(shown.grant_types)),
        ("pkce", "required" if requires_pkce(shown, settings.provider) else "optional"),
        ("skip_consent", "yes" if shown.skip_consent else "no"),
        ("introspect_any", "yes" if shown.introspect_any else "no"),
    ):
        click.echo(f"{name:<14} {value}")


@client.command("remove")
@_CONFIG
@click.argument("client_id")
def client_remove(path: Path, client_id: str) -> None:
    """Remove a client from the store, and end all its grants."""
    with _core(path) as (core, settings):
        if core.clients.in_file(client_id):
            raise _Failure(f"{client_id} is registered in {path}; take it out there")
        removed = core.clients.remove(client_id)
        if removed:
            _record(settings, "client.remove", client_id=client_id)
        # All of it also where it is gone already: the store may have fallen silent half way.
        core.consents.forget_client(client_id)
        ended = _end_grants(core, settings, client_id=client_id)
        if not removed and not ended:
            raise _Failure(f"there is no client {client_id}")
    click.echo(f"removed {client_id}; ended {_count(ended, 'grant')}")


@main.group()
def grant() -> None:
    """What users have allowed."""


@grant.command("list")
@_CONFIG
@click.option("--user", help="This user's.")
@click.option("--client", "client_id", help="This client's.")
def grant_list(path: Path, user: str | None, client_id: str | None) -> None:
    """List live grants: id, client, user, since, last used, scope."""
    _one_is_needed(user, client_id)
    with _core(path) as (core, _):
        for each in core.grants.live_grants(user=user, client_id=client_id):
            click.echo(_line(each))


@grant.command("revoke")
@_CONFIG
@click.option("--user", help="This user's.")
@click.option("--client", "client_id", help="This client's.")
def grant_revoke(path: Path, user: str | None, client_id: str | None) -> None:
    """End grants; their tokens are refused from this moment on."""
    _one_is_needed(user, client_id)
    with _core(path) as (core, settings):
        ended = _end_grants(core, settings, user=user, client_id=client_id)
        # Or a client would have a new grant at once, and nobody would be asked.
        _forget_consents(core, user, client_id)
    click.echo(f"ended {_count(ended, 'grant')}")


@grant.command("repair")
@_CONFIG
def grant_repair(path: Path) -> None:
    """List every live grant again, so that list and revoke find it; after a failover."""
    with _core(path) as (core, settings):
        longest = settings.tokens.code_seconds + settings.tokens.grant_seconds
        count = list_live_grants_again(core.redis, core.store, longest)
    click.echo(f"listed {_count(count, 'live grant')}")


@main.command()
@click.option(
    "--port", type=_PORT, default=8000, show_default=True, help="Where the gateway listens."
)
@click.option(
    "--client-port",
    type=_PORT,
    default=3000,
    show_default=True,
    help="Where the sample client listens.",
)
@click.option(
    "--backend-port", type=_PORT, help="Where the sample backend listens; 8080 if that is free."
)
def demo(port: int, client_port: int, backend_port: int | None) -> None:
    """Run a gateway with everything around it, and print what to open and to try."""
    try:
        from gateway.demo import everything  # noqa: PLC0415 - needs the extra "server"
    except ImportError as error:
        raise _Failure(
            f"{error.name} is missing: install the extra, pip install '.[all]'"
        ) from None
    with _words_for_errors():
        try:
            everything.run(port, client_port, backend_port)
        except everything.CannotListen as error:
            raise _Failure(str(error)) from None


@contextmanager
def _core(path: Path) -> Iterator[tuple[assembly.Core, Settings]]:
    with _words_for_errors():
        settings = load_config(path)
        core = assembly.core(settings)
        core.redis.open()
        try:
            yield core, settings
        finally:
            core.redis.close()


@contextmanager
def _words_for_errors() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise _Failure(str(error)) from None
    except EmbeddedStoreError as error:
        raise _Failure(f"the embedded store does not run: {error}") from None
    except StoreUnavailable as error:
        raise _Failure(f"the store does not answer ({error})") from None


def _end_grants(
    core: assembly.Core, settings: Settings, *, user: str | None = None, client_id: str | None
) -> int:
    count = 0
    for each in core.grants.end_all(user=user, client_id=client_id):
        _record(
            settings,
            "grant.revoke",
            user=each.user,
            client_id=each.client_id,
            grant_id=each.grant_id,
        )
        count += 1
    return count


def _record(settings: Settings, event: str, **about: str | None) -> None:
    Audit(settings.audit).record(event, outcome="allowed", why="command_line", **about)


def _forget_consents(core: assembly.Core, user: str | None, client_id: str | None) -> None:
    if client_id is None:
        core.consents.forget_user(user or "")
    elif user is None:
        core.consents.forget_client(client_id)
    elif (registered := core.clients.find(client_id)) is not None:
        core.consents.forget(user, registered.client)


def _one_is_needed(user: str | None, client_id: str | None) -> None:
    if user is None and client_id is None:
        raise click.UsageError("say whose: --user or --client")


def _line(grant_shown: Grant) -> str:
    since, used = (
        datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
        for seconds in (grant_shown.since, grant_shown.used)
    )
    who = grant_shown.user or "-"
    columns = (grant_shown.grant_id, grant_shown.client_id, who, since, used, grant_shown.scope)
    return "\t".join(columns)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
