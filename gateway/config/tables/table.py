"""What every table of the configuration is, and what its keys are called in a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, ClassVar, NamedTuple, get_args, get_origin

from pydantic import BaseModel

HIDDEN = "(hidden)"

_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/:@]*):[^/]*@")


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a key whose value is never shown: neither in a fault, nor in a repr, nor in a list.

    With ``in_url`` only the password of a URL is hidden. Where ``has_file`` is true, the key
    has a sibling ``…_file`` that names a file with the value. ``is_hash``: who reads it still has
    to guess the secret.
    """

    in_url: bool = False
    has_file: bool = True
    is_hash: bool = False

    def hide(self, value: Any) -> Any:
        """Return what may be shown in place of ``value``."""
        if isinstance(value, tuple):
            return tuple(map(self.hide, value))
        if isinstance(value, Mapping):
            return {name: self.hide(each) for name, each in value.items()}
        if self.in_url:
            return _PASSWORD_IN_URL.sub(rf"\1:{HIDDEN}@", value)
        return HIDDEN if value else value


class Hint(NamedTuple):
    """What to say about a key that people write for another one."""

    key: str
    message: str


class Table(
    BaseModel,
    frozen=True,
    strict=True,
    extra="forbid",
    hide_input_in_errors=True,
    # A key that Python names otherwise (``url`` is ``urls``) is ``urls`` in code.
    validate_by_name=True,
    validate_by_alias=True,
    use_attribute_docstrings=True,
):
    """One table. Each key is a field; a field without a default is required."""

    #: The key that tells one table of an array from the others.
    LABEL: ClassVar[str] = ""
    HINTS: ClassVar[Mapping[str, Hint]] = {}
    #: What to do about a required key that is missing, as what follows "is missing".
    WHEN_MISSING: ClassVar[Mapping[str, str]] = {}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        secrets = {key.field: key.secret for key in keys_of(type(self)).values()}
        for name, value in super().__repr_args__():
            secret = secrets.get(name or "")
            yield name, secret.hide(value) if secret else value


class Kind(Enum):
    """What stands at a key."""

    VALUE = "a value, or a list of values"
    TABLE = "[server]"
    ARRAY = "[[clients]]"
    ENTRIES = "[scopes], whose keys are the operator's own"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a table: its name in the file, and the field of the model that it fills.

    ``table`` is the model of the table or tables at this key. ``secret_of`` is the name of the
    secret that is in the file which this key names.
    """

    name: str
    field: str
    kind: Kind = Kind.VALUE
    table: type[Table] | None = None
    required: bool = False
    secret: Secret | None = None
    secret_of: str = ""

    @property
    def secret_file(self) -> str:
        """The name of the key that names a file with this secret, or an empty string."""
        return f"{self.name}_file" if self.secret and self.secret.has_file else ""


@cache
def keys_of(table: type[Table]) -> Mapping[str, Key]:
    """Return the keys that a table may have in a file, by name."""
    keys: dict[str, Key] = {}
    for field, about in table.model_fields.items():
        name = str(about.validation_alias or field)
        kind, inner = _kind_of(about.annotation)
        secret = next((each for each in about.metadata if isinstance(each, Secret)), None)
        key = Key(name, field, kind, inner, about.is_required(), secret)
        keys[name] = key
        if key.secret_file:
            keys[key.secret_file] = Key(key.secret_file, "", secret_of=name)
    return keys


def _kind_of(annotation: Any) -> tuple[Kind, type[Table] | None]:
    if _is_table(annotation):
        return Kind.TABLE, annotation
    if get_origin(annotation) is tuple and _is_table(get_args(annotation)[0]):
        return Kind.ARRAY, get_args(annotation)[0]
    return (Kind.ENTRIES if get_origin(annotation) is Mapping else Kind.VALUE), None


def _is_table(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Table)
