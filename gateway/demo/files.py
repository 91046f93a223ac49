"""The demo's files in ``gateway-demo``: its secret key and its configuration."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from gateway.config.file import ConfigError, ConfigFault, settings_from_toml
from gateway.config.settings import Settings
from gateway.demo.addresses import Addresses
from gateway.tokens.token import new_secret
from gateway.users.passwords import hash_password

CONFIGURATION = "demo.toml"
SECRET_KEY = "secret-key"  # noqa: S105 - the name of the file
AUDIT_LOG = "audit.log"

_TEMPLATE = Path(__file__).parent / "demo.toml"


def write_settings(folder: Path, addresses: Addresses) -> Settings:
    """Write the demo's configuration into ``folder``, and return its settings.

    The secret key is made once and kept, so that tokens outlive the demo. Raises ConfigError.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create_secret_key(folder / SECRET_KEY)
        written = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
            issuer=addresses.issuer,
            port=urlsplit(addresses.issuer).port,
            backend=addresses.backend,
            redirect_uri=addresses.redirect_uri,
            secret_key_file=SECRET_KEY,
            audit_log=AUDIT_LOG,
            password_hash=hash_password("demo"),
        )
        (folder / CONFIGURATION).write_text(written, encoding="utf-8")
    except OSError as error:
        where = str(error.filename or folder)
        raise ConfigError([ConfigFault(where, f"cannot be written: {error.strerror}")]) from None
    # A GATEWAY_SECRET_KEY in the environment belongs to another gateway.
    return settings_from_toml(written, base=folder.absolute(), environ={})


def _create_secret_key(path: Path) -> None:
    """Write a new secret key, unless there is one."""
    with suppress(FileExistsError):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as secret_key:
            secret_key.write(new_secret() + "\n")
