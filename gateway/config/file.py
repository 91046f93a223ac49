"""From a configuration file to :class:`Settings`, or to every fault that it has.

What the file may hold is in :mod:`gateway.config.schema`; what one value may look like, in
:mod:`gateway.config.grammar`; what keys must be to each other, in
:mod:`gateway.config.rules`; how tables are read, in :mod:`gateway.config.reader`.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gateway.config.grammar import secret_key_fault
from gateway.config.reader import TOP, ConfigFault, Report, make, read_values
from gateway.config.rules import CrossCheckFault, clashes, client_clashes
from gateway.config.schema import CLIENT, FILE
from gateway.config.settings import Client, Settings

__all__ = [
    "ConfigError",
    "ConfigFault",
    "client_faults",
    "load_config",
    "settings_from_toml",
]

_VARIABLE = "GATEWAY_SECRET_KEY"


class ConfigError(ValueError):
    """A configuration that cannot be used, with every fault that was found in it."""

    def __init__(self, faults: Iterable[ConfigFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def load_config(path: str | os.PathLike[str]) -> Settings:
    """Read a configuration file. Relative paths in it are relative to its folder.

    Raises ConfigError, also if there is no such file, or it is not readable, UTF-8 or TOML.
    """
    name = os.fspath(path)
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        raise ConfigError([ConfigFault(name, f"cannot be read: {error.strerror}")]) from None
    try:
        # Some editors write a byte order mark.
        written = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError([ConfigFault(name, f"is not UTF-8 at byte {error.start}")]) from None
    return _settings(written, name, Path(name).absolute().parent, os.environ)


def settings_from_toml(text: str, *, base: Path, environ: Mapping[str, str]) -> Settings:
    """Read a configuration from a string; relative paths in it are relative to ``base``.

    Raises ConfigError.
    """
    return _settings(text, "the configuration", base, environ)


def client_faults(client: Client, settings: Settings) -> tuple[str, ...]:
    """Return what the rules of the file say against a client that is not in it, a line each."""
    written: dict[str, object] = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in asdict(client).items()
        if value is not None
    }
    report = Report(FILE)
    read_values(CLIENT, written, TOP, report)
    _add_clashes(report, client_clashes(settings, TOP, client))
    return tuple(str(fault) for fault in report.faults)


def _settings(written: str, name: str, base: Path, environ: Mapping[str, str]) -> Settings:
    try:
        raw = tomllib.loads(written)
    except (ValueError, RecursionError) as error:
        raise ConfigError([ConfigFault(name, f"is not TOML: {error}")]) from None
    report = Report(FILE)
    values = read_values(FILE, raw, TOP, report)
    values["secret_keys"] = _secret_keys(
        values.pop("secret_key", ()), values.pop("secret_key_file", None), base, environ, report
    )
    settings = _with_paths_from(base, make(FILE, values))
    _add_clashes(report, clashes(settings))
    if report.faults:
        raise ConfigError(report.faults)
    return settings


def _add_clashes(report: Report, found: Iterable[CrossCheckFault]) -> None:
    unread = frozenset(report.unread)
    for fault, others in found:
        if unread.isdisjoint({fault.where, *others}):
            report.faults.append(fault)


def _with_paths_from(base: Path, settings: Settings) -> Settings:
    """Anchor every path of the file, and every default of one, at the folder ``base``."""
    store, audit = settings.store, settings.audit
    anchored: dict[str, Any] = {
        key: base / path
        for key in ("ca_file", "cert_file", "key_file")
        if (path := getattr(store, key)) is not None
    }
    ca_file = settings.upstream.ca_file
    return replace(
        settings,
        store=replace(store, data_dir=base / store.data_dir, **anchored),
        upstream=replace(settings.upstream, ca_file=base / ca_file if ca_file else None),
        audit=audit if audit.file == "-" else replace(audit, file=str(base / audit.file)),
    )


# --- The gateway's secret keys


def _secret_keys(
    in_file: tuple[str, ...],
    key_file: Path | None,
    base: Path,
    environ: Mapping[str, str],
    report: Report,
) -> tuple[bytes, ...]:
    """Return the keys of the one source that has them, newest first.

    No source wins over another: a gateway that signs with a key other than the one its
    operator looks at is found out by everybody's being logged out.
    """
    if report.unread & {"secret_key", "secret_key_file"}:
        return ()
    if in_file and key_file is not None:
        report.add("secret_key_file", "must not be there beside secret_key")
        return ()
    if key_file is not None:
        in_file = _read_secret_key_file(base / key_file, report)
    # What mounts a secret into the environment often leaves its line end on.
    in_environ = environ.get(_VARIABLE, "").strip()
    if in_environ and (fault := secret_key_fault(in_environ)) is not None:
        report.add(_VARIABLE, fault)
    elif in_environ and in_file and in_file != (in_environ,):
        report.add(_VARIABLE, "is not the key of the file; set one of the two")
    elif not in_environ and not in_file and key_file is None:
        message = "is missing; run `gateway new-secret`, and set it here or as"
        report.add("secret_key", f"{message} {_VARIABLE}, or name a secret_key_file")
    keys = in_file or ((in_environ,) if in_environ else ())
    return tuple(key.encode("utf-8", "surrogateescape") for key in keys)


def _read_secret_key_file(path: Path, report: Report) -> tuple[str, ...]:
    """Read one key a line, newest first, from a file that is not open to everybody."""
    where = "secret_key_file"
    try:
        with path.open(encoding="utf-8") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & stat.S_IRWXO:
                report.add(where, "is open to every user of this machine; run `chmod o= FILE`")
            keys = tuple(line.strip() for line in file if line.strip())
    except OSError as error:
        report.add(where, f"cannot be read: {error.strerror}")
        return ()
    except UnicodeDecodeError:
        report.add(where, "is not UTF-8")
        return ()
    if not keys:
        report.add(where, "has no key in it; run `gateway new-secret`")
    for position, key in enumerate(keys, 1):
        if (fault := secret_key_fault(key)) is not None:
            report.add(where, f"#{position} {fault}")
    return keys
