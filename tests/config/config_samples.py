"""Configurations that are almost enough, for the tests of those that are not."""

from __future__ import annotations

from pathlib import Path

from gateway.config.file import ConfigError, settings_from_toml
from gateway.config.settings import Settings

KEY = "k" * 32
OTHER_KEY = "o" * 32
ENVIRON = {"GATEWAY_SECRET_KEY": KEY}
ISSUER = 'issuer = "http://localhost:8000"\n'
SCOPES = '[scopes]\nproject = "See your projects"\n'
CLIENT = '[[clients]]\nclient_id = "my-app"\nname = "My App"\n'
WEB_CLIENT = CLIENT + 'redirect_uris = ["https://app.example/cb"]\n'
USER_HASH = "scrypt:32768:8:1$salt$" + "0f" * 64
USER = f'[[sign_in.users]]\nname = "demo"\npassword_hash = "{USER_HASH}"\n'


def read(written: str, environ: dict[str, str] | None = None) -> Settings:
    """Read a file that stands in /etc/gateway."""
    environ = ENVIRON if environ is None else environ
    return settings_from_toml(written, base=Path("/etc/gateway"), environ=environ)


def faults(written: str, environ: dict[str, str] | None = None) -> list[str]:
    """Return the line of every fault of a file, or nothing if it has none."""
    try:
        read(written, environ)
    except ConfigError as error:
        return str(error).split("\n")
    return []
