"""Every reason that the audit log can give stands in docs/audit.md, and no other."""

from __future__ import annotations

import re
from enum import StrEnum

from gateway.access.decisions import RequestReason
from gateway.http.path_reasons import PathReason
from gateway.protocol.reasons import Why
from gateway.site.verify import VerifyReason
from gateway.tokens.grant import Refusal
from tests.support.processes import ROOT

#: The enums that name the reasons of a row's events. A reason is a member of one of them.
REASONS: tuple[type[StrEnum], ...] = (Why, RequestReason, PathReason, VerifyReason)

_TEXT = (ROOT / "docs" / "audit.md").read_text("utf-8")
_TABLE = _TEXT[_TEXT.index("| event | reasons") :]


def _documented() -> set[str]:
    """Return every reason in the table of events."""
    rows = re.findall(r"^\| (?!event|---)([^|]+) \| (.+) \|$", _TABLE, re.MULTILINE)
    return {name for _, each in rows for name in re.findall(r"`([^`]+)`", each)}


def test_the_documented_reasons_are_those_that_there_are() -> None:
    assert _documented() == {reason.value for enum in REASONS for reason in enum}


def test_every_refusal_of_the_store_is_a_reason() -> None:
    assert {refusal.value for refusal in Refusal} <= {why.value for why in Why}


def test_a_reason_about_a_parameter_names_it() -> None:
    assert Why.MISSING.of("code") == "missing_code"
    assert Why.CSRF.of("code") == "csrf"
