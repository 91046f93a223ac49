"""``gateway init``: a first configuration, and its secret key."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import click

from gateway.cli.failures import Failure, words_for_errors
from gateway.cli.operations import CONFIG

_SECRET_KEYS = "secret-keys"  # noqa: S105 - the name of the file
_NAMES_KEY_FILE = f'secret_key_file = "{_SECRET_KEYS}"\n'


@click.command()
@CONFIG
@click.option(
    "--issuer",
    default="http://localhost:8000",
    show_default=True,
    help="The gateway's URL as browsers see it.",
)
@click.option("--upstream", default="http://127.0.0.1:8080", show_default=True, help="The backend.")
@click.option(
    "--listen",
    default="127.0.0.1:8000",
    show_default=True,
    metavar="HOST:PORT",
    help="Where the gateway listens.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="NAME=TEXT",
    help="TEXT is what the confirmation page says. Repeats.",
)
@click.option("--public", "public", multiple=True, metavar="PATH", help="Needs no token. Repeats.")
@click.option("--user", "users", multiple=True, help="Who signs in; asks for a password. Repeats.")
def init(
    path: Path,
    *,
    scopes: tuple[str, ...],
    public: tuple[str, ...],
    users: tuple[str, ...],
    **addresses: str,
) -> None:
    """Write a configuration file, and a file with a fresh secret key beside it.

    Every path of the backend needs a valid token, but those of --public. An existing
    configuration is never overwritten, and an existing secret key is used again.
    """
    if path.exists():
        raise Failure(f"{path} is there already; nothing was written. Run `gateway check` next")
    written = _text([_scopes(scopes), *_users(users), *_routes(public)], **addresses)
    with words_for_errors():
        _check(written, path)
    has_new_key = _write(path, written)
    click.echo(_next_steps(path, has_users=bool(users), has_new_key=has_new_key))


def _scopes(scopes: Iterable[str]) -> str:
    pairs = [(name, text or name) for name, _, text in (each.partition("=") for each in scopes)]
    lines = [f"{_quoted(name)} = {_quoted(text)}\n" for name, text in pairs]
    return "".join(["[scopes]\n", *lines])


def _users(users: Iterable[str]) -> Iterator[str]:
    from gateway.users.passwords import hash_password

    for name in users:
        password = click.prompt(
            f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True
        )
        hashed = _quoted(hash_password(password))
        yield f"[[sign_in.users]]\nname = {_quoted(name)}\npassword_hash = {hashed}\n"


def _routes(public: Iterable[str]) -> Iterator[str]:
    yield "# The first [[routes]] that matches counts. A path without one needs any valid token.\n"
    for pattern in public:
        yield f"[[routes]]\npath = {_quoted(pattern)}\npublic = true\n"


def _quoted(value: str) -> str:
    """Return a string of TOML; JSON's are such strings, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")


def _text(tables: Iterable[str], *, issuer: str, upstream: str, listen: str) -> str:
    addresses = f"""\
# The gateway's configuration. config.example.toml describes every key.

issuer = {_quoted(issuer)}
{_NAMES_KEY_FILE}
[server]
listen = {_quoted(listen)}

[upstream]
url = {_quoted(upstream)}

[store]
url = "embedded"
"""
    return "\n".join([addresses, *tables])


def _check(written: str, path: Path) -> None:
    """Raise ConfigError if an option makes a fault."""
    from gateway.config.file import settings_from_toml

    # The file of the key may not be there yet.
    environ = {"GATEWAY_SECRET_KEY": _new_key()}
    settings_from_toml(
        written.replace(_NAMES_KEY_FILE, ""), base=path.absolute().parent, environ=environ
    )


def _new_key() -> str:
    from gateway.tokens.token import new_secret

    return new_secret() + "\n"


def _write(path: Path, written: str) -> bool:
    """Write the configuration, and a secret key unless there is one; return if there was none."""
    try:
        has_new_key = _create(path.with_name(_SECRET_KEYS), _new_key())
        if not _create(path, written):
            raise Failure(f"{path} is there already, and stays as it is")
    except OSError as error:
        raise Failure(f"{error.filename} cannot be written: {error.strerror}") from None
    return has_new_key


def _create(path: Path, text: str) -> bool:
    """Write a new file that only its owner can read; return False if there is one already."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return True
    return False


def _next_steps(path: Path, *, has_users: bool, has_new_key: bool) -> str:
    option = "" if path == Path("gateway.toml") else f" --config {shlex.quote(str(path))}"
    key = "a new secret key" if has_new_key else "the secret key that was there already"
    lines = [
        f"Written: {path}, and {key} in {path.with_name(_SECRET_KEYS)}.",
        "Keep the key: a gateway with another one refuses every token of this one.",
        "",
        "What is next:",
    ]
    if not has_users:
        lines += [f"    a [[sign_in.users]] in {path}, with a hash from `gateway hash-password`"]
    lines += [
        f"    gateway client add{option} --public --redirect-uri URI CLIENT_ID",
        f"    gateway check{option} && gateway serve{option}",
    ]
    return "\n".join(lines)
