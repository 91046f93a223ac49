"""The table of rules for what is sent: what it says, and the order in which it says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.protocol.errors import OAuthError
from gateway.protocol.request_rules import (
    FORM,
    RULES,
    Form,
    FormKind,
    Submission,
    parse,
    validate_submission,
)


def test_every_rule_names_its_source() -> None:
    for rule, _ in RULES:
        assert "RFC " in (rule.__doc__ or ""), rule.__name__


@pytest.mark.parametrize("at", [FormKind.TOKEN, FormKind.REVOKE, FormKind.INTROSPECT])
def test_the_first_rule_that_is_broken_is_told(at: FormKind) -> None:
    """All of them are broken at first, and mended one after the other, in the table's order."""

    def breaks_off(most: int) -> bytes:
        raise OSError

    def form(body: bytes) -> Form:
        return Form(FORM, str(len(body)), 200, lambda most: body[:most])

    wrong = Submission(at, "client_id=x", Form("text/plain", "0x1", 200, breaks_off))
    many = b"&".join([b"client_id=%C3%A9"] * 65)
    for submission, why in (
        (wrong, "parameters_in_query"),
        (replace(wrong, query="unknown=x"), "content_type"),
        (Submission(at, form=Form(FORM, "0x1", 200, breaks_off)), "content_length"),
        (Submission(at, form=Form(FORM, "201", 200, breaks_off)), "too_large"),
        (Submission(at, form=Form(FORM, "200", 200, breaks_off)), "broken_body"),
        (Submission(at, form=Form(FORM, None, 200, lambda most: b"x" * most)), "too_large"),
        (Submission(at, form=Form(FORM, "2", 200, lambda most: b"x")), "short_body"),
        (Submission(at, form=form(b"\xff&" * 65)), "parameters_not_utf8"),
        (Submission(at, form=replace(form(many), limit=2000)), "too_many_parameters"),
        (Submission(at, form=form(b"client_id=%C3%A9&client_id=x")), "repeated_client_id"),
        (Submission(at, form=form(b"client_id=%C3%A9")), "malformed_client_id"),
    ):
        with pytest.raises(OAuthError) as raised:
            validate_submission(submission)
        assert raised.value.why == why
    good = form(b"client_id=x&client_secret=&unknown=1&unknown=2&resource=a&resource=b")
    assert validate_submission(Submission(at, form=good)) == {"client_id": "x"}


def test_a_page_takes_what_it_is_sent_and_judges_no_parameter_of_the_protocol() -> None:
    form = Form(FORM, None, 200, lambda most: b"client_id=%C3%A9&client_id=x"[:most])
    assert parse(Submission(FormKind.PAGE_FORM, form=form)) == [
        ("client_id", "é"),
        ("client_id", "x"),
    ]
    assert parse(Submission(FormKind.PAGE, encoded="next=%2F")) == [("next", "/")]
