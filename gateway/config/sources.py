"""Where the keys of a gateway come from: its file, the environment, and the files of secrets.

The environment wins over the file. Only among secret keys no source wins: if a gateway signed with
another key than the one that its operator looks at, nobody would see it until all are signed out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from gateway.config.environment import read_environment
from gateway.config.faults import Report
from gateway.config.places import ConfigFault
from gateway.config.raw_tables import KeyPath, RawTables
from gateway.config.secret_files import secret_in_file
from gateway.config.settings import Settings
from gateway.config.tables.table import Table, keys_of
from gateway.config.values import Reason, RefusedError


class Sources:
    """Everything that is written for a gateway, and where each key comes from.

    ``file`` is the content of a file, ``base`` its folder. Faults of variables and of secret files
    go into ``report``.
    """

    def __init__(
        self, file: dict[str, Any], base: Path, environ: Mapping[str, str], report: Report
    ) -> None:
        self.tables = RawTables(Settings, file)
        self._base, self._report = base, report
        self._secret_files: dict[KeyPath, Path] = {}
        environment, self._variables = read_environment(environ, report)
        self._compare_secret_keys(environment)
        _merge(self.tables.raw, environment, Settings)
        self._read_secret_files(self.tables.raw, Settings, ())

    def origin(self, path: KeyPath) -> str:
        """Say where the value of a key comes from."""
        if self.tables.at(path) is None:
            return "default"
        for end in range(len(path), 0, -1):
            if path[:end] in self._secret_files:
                return f"secret file {self._secret_files[path[:end]]}"
        array = tuple(takewhile(lambda step: isinstance(step, str), path))
        name = self._variables.get(path) or self._variables.get(array) or "file"
        return name.partition(" ")[0]

    def locate(self, fault: ConfigFault) -> ConfigFault:
        """Name ``fault`` after the variable or the secret file that the value comes from."""
        for path in self._secret_files:
            spot = self.tables.spot(path)
            if spot.key and f"{fault.where} ".startswith(f"{spot.where} "):
                name = spot.place.key(spot.key.secret_file)
                fault = replace(fault, where=name + fault.where[len(spot.where) :])
        for path, variable in self._variables.items():
            where = self.tables.spot(path).where
            if fault.where == where or fault.where.startswith(f"{where} #"):
                message = _about_text(fault.message)
                return replace(fault, where=variable + fault.where[len(where) :], message=message)
        return fault

    def _compare_secret_keys(self, environment: dict[str, Any]) -> None:
        """If the file and ``environment`` both have secret keys, they must be equal."""
        pair, in_file = ("secret_key", "secret_key_file"), self.tables.raw
        given = {name: environment.pop(name) for name in pair if name in environment}
        if not given or not any(name in in_file for name in pair):
            environment |= given
            return
        variables = [self._variables.pop((name,)) for name in given]
        for raw, where in ((given, variables[-1]), (in_file, "secret_key_file")):
            self._secret_files.clear()
            self._read_secret_file(raw, Settings, "secret_key_file", (), where)
        ours, theirs = in_file.get("secret_key"), given.get("secret_key")
        if ours and theirs and _as_list(ours) != _as_list(theirs):
            message = "is not the key of the file; set one of the two"
            self._report.add(variables[0], Reason(message))

    def _read_secret_files(self, raw: dict[str, Any], table: type[Table], above: KeyPath) -> None:
        """Read every secret that the tables below ``raw`` have in a file of its own."""
        for key in keys_of(table).values():
            path, value = (*above, key.name), raw.get(key.name)
            if key.secret_of:
                where = self.tables.spot(path).where
                self._read_secret_file(raw, table, key.name, above, where)
            elif key.table and isinstance(value, dict):
                self._read_secret_files(value, key.table, path)
            elif key.table and isinstance(value, list):
                for position, item in enumerate(value):
                    if isinstance(item, dict):
                        self._read_secret_files(item, key.table, (*path, position))

    def _read_secret_file(
        self, raw: dict[str, Any], table: type[Table], name: str, above: KeyPath, where: str
    ) -> None:
        """Put the secret into ``raw`` in place of the key ``name``, which names its file."""
        if name not in raw:
            return
        secret = keys_of(table)[keys_of(table)[name].secret_of]
        file = raw.pop(name)
        try:
            if secret.name in raw:
                raise RefusedError(Reason(f"must not be there beside {secret.name}"))
            read = secret_in_file(secret, file, self._base)
        except RefusedError as refused:
            self._report.add(where, *refused.reasons)
            self._report.unread.add(self.tables.spot((*above, secret.name)).where)
        else:
            self._secret_files[(*above, secret.name)], raw[secret.name] = read


def _as_list(keys: object) -> object:
    return keys if isinstance(keys, list) else [keys]


def _about_text(message: str) -> str:
    """Return what to say of a value that can only be written as text."""
    message = re.sub(
        "(array|table|tables), not a string|(tables?); write .*", r"\1\2, as JSON", message
    )
    return message.replace(", not a string", "")


def _merge(file: dict[str, Any], environment: Mapping[str, Any], table: type[Table]) -> None:
    """Write the keys of the environment over those of the file, also a secret over its file."""
    keys = {name: keys_of(table).get(name) for name in environment}
    for key in keys.values():
        if key is not None:
            file.pop(key.secret_file or key.secret_of, None)
    for name, value in environment.items():
        key, below = keys[name], file.get(name)
        if key and isinstance(value, dict) and isinstance(below, dict):
            _merge(below, value, key.table or Table)
        else:
            file[name] = value
