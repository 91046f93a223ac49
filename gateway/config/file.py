"""From a configuration file to :class:`Settings`, or to every fault that it has.

Which tables and keys there are is in :mod:`gateway.config.settings` and ``tables/``; what one
value may look like, in :mod:`gateway.config.grammar`; what keys must be to each other, in
:mod:`gateway.config.rules`; where values come from, in :mod:`gateway.config.sources`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from gateway.config.exposed import exposed_file_fault, secrets_in
from gateway.config.faults import Report, read
from gateway.config.places import TOP, ConfigFault
from gateway.config.raw_tables import RawTables
from gateway.config.rules import CrossCheckFault, clashes, client_clashes
from gateway.config.settings import Client, Settings
from gateway.config.sources import Sources

__all__ = [
    "ConfigError",
    "ConfigFault",
    "Configuration",
    "client_faults",
    "load_config",
    "read_configuration",
    "settings_from_toml",
]


class ConfigError(ValueError):
    """A configuration that cannot be used, with every fault that was found in it."""

    def __init__(self, faults: Iterable[ConfigFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class Configuration(NamedTuple):
    """The settings, and where each of them comes from."""

    settings: Settings
    sources: Sources


def load_config(path: str | os.PathLike[str]) -> Settings:
    """Read a configuration file and the variables ``GATEWAY_…`` of the environment.

    Relative paths are relative to the folder of the file. Raises ConfigError, also if there is no
    such file, if it is not readable, UTF-8 or TOML, or if it holds a secret and is open to every
    user of the machine.
    """
    return read_configuration(path).settings


def read_configuration(path: str | os.PathLike[str]) -> Configuration:
    """Do as :func:`load_config`, and tell as well where each value comes from."""
    name = os.fspath(path)
    try:
        with Path(name).open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read()
    except OSError as error:
        raise ConfigError([ConfigFault(name, f"cannot be read: {error.strerror}")]) from None
    try:
        # Some editors write a byte order mark.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([ConfigFault(name, f"is not UTF-8 at byte {error.start}")]) from None
    return _configuration(text, name, Path(name).absolute().parent, os.environ, mode)


def settings_from_toml(text: str, *, base: Path, environ: Mapping[str, str]) -> Settings:
    """Read a configuration from a string; relative paths in it are relative to ``base``.

    Raises ConfigError.
    """
    return _configuration(text, "the configuration", base, environ).settings


def client_faults(client: Client, settings: Settings) -> tuple[str, ...]:
    """Return what the rules of the file say against a client that is not in it, a line each.

    Make the client with ``model_construct``, which validates nothing.
    """
    keys = {key: value for key, value in client if value is not None}
    report = Report()
    read(Client, RawTables(Client, keys), Path(), report)
    _add_clashes(report, client_clashes(settings, TOP, client))
    return tuple(str(fault) for fault in report.faults)


def _configuration(
    text: str, name: str, base: Path, environ: Mapping[str, str], mode: int = 0
) -> Configuration:
    try:
        file = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError([ConfigFault(name, f"is not TOML: {error}")]) from None
    report = Report()
    secrets = list(secrets_in(file, Settings))
    sources = Sources(file, base, environ, report)
    settings = read(Settings, sources.tables, base, report)
    _add_clashes(report, clashes(settings))
    usable = [each for each in secrets if each not in report.unread]
    if (exposed := exposed_file_fault(name, mode, usable)) is not None:
        report.faults.append(exposed)
    if report.faults:
        raise ConfigError(map(sources.locate, report.faults))
    return Configuration(settings, sources)


def _add_clashes(report: Report, found: Iterable[CrossCheckFault]) -> None:
    unread = frozenset(report.unread)
    for fault, others in found:
        if unread.isdisjoint({fault.where, *others}):
            report.faults.append(fault)
