"""An issuer is a URL of https, or of loopback."""

from __future__ import annotations

import pytest

from tests.config.config_samples import faults, read


@pytest.mark.parametrize(
    "issuer",
    [
        "https://gateway.example",
        "https://gateway.example:8443/tenant/1",
        "http://localhost",
        "http://127.8.9.10:8000",
        "http://[::1]:8000",
    ],
)
def test_an_issuer_is_a_url_of_https_or_loopback(issuer: str) -> None:
    assert read(f'issuer = "{issuer}"').issuer == issuer


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        ("gateway.example", "must be an http or https URL"),
        ("ftp://gateway.example", "must be an http or https URL"),
        ("https://", "must have a host"),
        ("https://gateway.example/", "must not end in a slash"),
        ("https://gateway.example?a=b", "must have no query"),
        ("https://gateway.example#a", "must have no query and no fragment"),
        ("https://me:pw@gateway.example", "must have no user or password"),
        ("https://gateway.example:0", "must have a port from 1"),
        ("https://gateway.example:65536", "must have a port from 1"),
        ("https://gateway.example:", "must have a host"),
        ("https://999.1.1.1", "must have a host"),
        ("https://[::g]", "must have a host"),
        ("https://-a.example", "must have a host"),
        ("https://a..b", "must have a host"),
        ("https://a b", "must have a host"),
        ("https://a/../b", "must have no dot segments"),
        ("https://a/b c", "must have no query, no fragment, and only characters of a path"),
        ("https://Gateway.example", "in lower case"),
        ("https://gateway.example:443", "without the default port"),
        ("http://gateway.example", "must be https"),
        ("http://127.0.0.1.evil.example", "must be https"),
    ],
)
def test_any_other_issuer_is_a_fault(issuer: str, why: str) -> None:
    [line] = faults(f'issuer = "{issuer}"')
    assert line.startswith("issuer: ")
    assert why in line


def test_an_insecure_issuer_must_be_allowed_by_name() -> None:
    written = 'issuer = "http://gateway.test"\nallow_insecure_issuer = true\n'
    assert read(written).issuer == "http://gateway.test"
