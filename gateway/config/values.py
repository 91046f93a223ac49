"""The values that keys can have: annotated types that pydantic validates.

A validator takes a value or raises :class:`RefusedError`. No reason shows the value, because the
value may be a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, Strict, ValidationInfo

from gateway.config.credential_grammar import secret_key_fault
from gateway.config.grammar import (
    file_name_fault,
    not_empty,
    one_line,
)
from gateway.http.peers import UNIX, TrustedPeer

K = TypeVar("K")
T = TypeVar("T")

#: Says what is wrong with a string, as what follows its name, or ``None``.
Rule = Callable[[str], str | None]

# A hundred years: beyond it, times would not fit where the store keeps them.
_LONGEST_SECONDS: Final = 3_153_600_000

_TYPE_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    list: "an array",
    tuple: "an array",
    dict: "a table",
}


class Reason(NamedTuple):
    """Why a value is refused, as what follows its name; ``item`` is a position in a list."""

    message: str
    nearest: str | None = None
    item: int | None = None


class RefusedError(ValueError):
    """A validator did not take a value, for one reason or for several."""

    def __init__(self, *reasons: Reason) -> None:
        super().__init__("; ".join(reason.message for reason in reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class FileContext:
    """The context in which a file is validated.

    ``base`` is the folder where relative paths begin. With ``lenient`` no rule objects to a
    string: the faults are known, and the other keys are still compared with each other.
    """

    base: Path
    lenient: bool = False


def obeys(*rules: Rule) -> AfterValidator:
    """Take a string to which none of ``rules`` objects."""

    def check(value: str, info: ValidationInfo) -> str:
        if not (info.context and info.context.lenient):
            for rule in rules:
                if (fault := rule(value)) is not None:
                    raise RefusedError(Reason(fault))
        return value

    return AfterValidator(check)


def wrong_type(expected: str, value: object) -> Reason:
    """Refuse a value whose type is not the ``expected`` one; types are named as TOML does it."""
    return Reason(f"must be {expected}, not {_TYPE_NAMES.get(type(value), 'a date or time')}")


# --- Numbers and words

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[int, Field(ge=1, le=_LONGEST_SECONDS)]
Duration = Annotated[float, Field(gt=0, allow_inf_nan=False)]
DurationOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Pkce = Literal["required", "optional"]
#: What a page, a log or a header shows on one line.
Line = Annotated[str, obeys(one_line)]
Name = Annotated[str, obeys(not_empty, one_line)]


# --- Lists and tables of the operator's own names


def _distinct(items: tuple[T, ...]) -> tuple[T, ...]:
    repeated = [place for place, item in enumerate(items) if item in items[:place]]
    if repeated:
        raise RefusedError(*(Reason("is there twice", item=place) for place in repeated))
    return items


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str | bytes) else value


#: Tables of a file, in double brackets.
Tables = Annotated[tuple[T, ...], Strict(strict=False)]
ListOf = Annotated[tuple[T, ...], Strict(strict=False), AfterValidator(_distinct)]
SomeOf = Annotated[ListOf[T], Field(min_length=1)]
OneOrSomeOf = Annotated[SomeOf[T], BeforeValidator(_as_list)]
#: A table that nobody can change: its names, and what stands at them.
FrozenMapping = Annotated[Mapping[K, T], AfterValidator(MappingProxyType)]


# --- Files


def _path(value: object) -> object:
    if isinstance(value, str) and (fault := file_name_fault(value)) is not None:
        raise RefusedError(Reason(fault))
    if not isinstance(value, str | Path):
        raise RefusedError(wrong_type("a string", value))
    return Path(value)


def _anchor(path: Path, info: ValidationInfo) -> Path:
    return info.context.base / path if info.context else path


def _anchor_log(name: str, info: ValidationInfo) -> str:
    return name if name == "-" else str(_anchor(Path(name), info))


FilePath = Annotated[Path, BeforeValidator(_path), AfterValidator(_anchor)]
#: A path, or ``-`` for standard error.
LogName = Annotated[str, obeys(file_name_fault), AfterValidator(_anchor_log)]


# --- Addresses and keys


def _trusted_peer(value: object) -> TrustedPeer:
    """Take an address, a CIDR block, or ``unix``."""
    if isinstance(value, IPv4Network | IPv6Network) or value == UNIX:
        return value
    if not isinstance(value, str):
        raise RefusedError(wrong_type("a string", value))
    try:
        block = ip_network(value, strict=False)
    except ValueError:
        raise RefusedError(Reason("must be an IP address, a CIDR block or unix")) from None
    if "/" in value and not _is_block(value):
        raise RefusedError(Reason("is an address in a block, not a block", str(block)))
    return block


def _is_block(written: str) -> bool:
    try:
        ip_network(written)
    except ValueError:
        return False
    return True


def _key_bytes(value: object, info: ValidationInfo) -> object:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise RefusedError(wrong_type("a string", value))
    if not (info.context and info.context.lenient) and (fault := secret_key_fault(value)):
        raise RefusedError(Reason(fault))
    return value.encode("utf-8", "surrogateescape")


Peer = Annotated[TrustedPeer, PlainValidator(_trusted_peer)]
SecretKey = Annotated[bytes, PlainValidator(_key_bytes)]
