"""Secrets in files of their own: the key ``url_file`` names a file that holds ``url``."""

from __future__ import annotations

import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from gateway.config.grammar import file_name_fault
from gateway.config.tables.table import Key, Kind
from gateway.config.values import Reason, RefusedError, wrong_type


def secret_in_file(secret: Key, name: object, base: Path) -> tuple[Path, Any]:
    """Return the file called ``name``, relative to ``base``, and the secret in it.

    The file holds what a variable for the key would hold: a list of keys is one key a line, a
    table is JSON. Raises RefusedError, also if the file is open to every user of the machine.
    """
    if not isinstance(name, str):
        raise RefusedError(wrong_type("a string", name))
    if (fault := file_name_fault(name)) is not None:
        raise RefusedError(Reason(fault))
    text = _read(base / name)
    if secret.name == "secret_key":
        return base / name, _keys(text)
    if not text.strip():
        raise RefusedError(Reason("is empty"))
    return base / name, _table(text) if secret.kind is Kind.ENTRIES else text.removesuffix("\n")


def secret_keys_in(text: str) -> list[str]:
    """Return the secret keys in the text of a variable or a file: one a line, newest first."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def json_in(text: str) -> Any:
    """Return the value that is written in JSON. Raises ValueError, also for half a character."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("too deep") from None
    return value


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & stat.S_IRWXO:
                message = "is open to every user of this machine; run `chmod o= FILE`"
                raise RefusedError(Reason(message))
            return file.read()
    except OSError as error:
        raise RefusedError(Reason(f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise RefusedError(Reason("is not UTF-8")) from None


def _keys(text: str) -> list[str]:
    if keys := secret_keys_in(text):
        return keys
    raise RefusedError(Reason("has no key in it; run `gateway new-secret`"))


def _table(text: str) -> Any:
    with suppress(ValueError):
        if isinstance(table := json_in(text), dict):
            return table
    raise RefusedError(Reason("must be a table, as JSON"))
