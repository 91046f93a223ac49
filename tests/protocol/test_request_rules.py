"""The table of rules for what is sent: what it says, and the order in which it says it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.protocol.errors import OAuthError
from gateway.protocol.request_rules import FORM, RULES, At, Form, Sent, checked, read


def test_every_rule_names_its_source() -> None:
    for rule, _ in RULES:
        assert "RFC " in (rule.__doc__ or ""), rule.__name__


@pytest.mark.parametrize("at", [At.TOKEN, At.REVOKE, At.INTROSPECT])
def test_the_first_rule_that_is_broken_is_told(at: At) -> None:
    """All of them are broken at first, and mended one after the other, in the table's order."""

    def breaks_off(most: int) -> bytes:
        raise OSError

    def form(body: bytes) -> Form:
        return Form(FORM, str(len(body)), 200, lambda most: body[:most])

    wrong = Sent(at, "client_id=x", Form("text/plain", "0x1", 200, breaks_off))
    many = b"&".join([b"client_id=%C3%A9"] * 65)
    for sent, why in (
        (wrong, "parameters_in_query"),
        (replace(wrong, query="unknown=x"), "content_type"),
        (Sent(at, form=Form(FORM, "0x1", 200, breaks_off)), "content_length"),
        (Sent(at, form=Form(FORM, "201", 200, breaks_off)), "too_large"),
        (Sent(at, form=Form(FORM, "200", 200, breaks_off)), "broken_body"),
        (Sent(at, form=Form(FORM, None, 200, lambda most: b"x" * most)), "too_large"),
        (Sent(at, form=Form(FORM, "2", 200, lambda most: b"x")), "short_body"),
        (Sent(at, form=form(b"\xff&" * 65)), "parameters_not_utf8"),
        (Sent(at, form=replace(form(many), limit=2000)), "too_many_parameters"),
        (Sent(at, form=form(b"client_id=%C3%A9&client_id=x")), "repeated_client_id"),
        (Sent(at, form=form(b"client_id=%C3%A9")), "malformed_client_id"),
    ):
        with pytest.raises(OAuthError) as raised:
            checked(sent)
        assert raised.value.why == why
    good = form(b"client_id=x&client_secret=&unknown=1&unknown=2&resource=a&resource=b")
    assert checked(Sent(at, form=good)) == {"client_id": "x"}


def test_a_page_takes_what_it_is_sent_and_judges_no_parameter_of_the_protocol() -> None:
    form = Form(FORM, None, 200, lambda most: b"client_id=%C3%A9&client_id=x"[:most])
    assert read(Sent(At.PAGE_FORM, form=form)) == [("client_id", "é"), ("client_id", "x")]
    assert read(Sent(At.PAGE, encoded="next=%2F")) == [("next", "/")]
