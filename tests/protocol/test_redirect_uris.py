"""Which redirection URIs may be registered, and which request matches a registered one."""

from __future__ import annotations

import pytest

from gateway.protocol.redirect_uris import is_loopback_host, matches_registered, redirect_uri_fault


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/cb",
        "http://localhost:3000/cb",
        "http://app.localhost:3000/cb",
        "http://127.0.0.1/cb",
        "com.someapp.App://cb",
        "com.someapp.App:/cb",
        "raven.thecommit.company:",
        "com.example.app:/",
        "myapp://cb",
        "vscode://publisher.extension/cb",
    ],
)
def test_what_applications_come_back_to_may_be_registered(uri: str) -> None:
    assert redirect_uri_fault(uri) is None


@pytest.mark.parametrize(
    "scheme",
    [
        *("javascript", "JavaScript", "JAVASCRIPT", "vbscript", "data", "Data", "file", "blob"),
        *("ms-msdt", "MS-msdt", "search-ms", "ms-settings", "ms-officecmd", "jar", "ssh", "tel"),
        *("sms", "view-source", "intent", "chrome-extension", "smb", "ldap", "itms-services"),
        *("microsoft-edge", "x-apple.systempreferences", "mailto", "res", "shell", "ftp", "feed"),
    ],
)
def test_a_scheme_that_does_something_with_a_code_is_refused(scheme: str) -> None:
    assert "never sent an authorization code" in (redirect_uri_fault(f"{scheme}://x/cb") or "")
    assert redirect_uri_fault(f"{scheme}:x") is not None


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("localhost:3000/cb", "http://localhost:3000/cb"),
        ("app.localhost:3000/cb", "http://app.localhost:3000/cb"),
        ("app.example:8443/cb", "https://app.example:8443/cb"),
        ("127.0.0.1:3000/cb", "is not an absolute URI"),
        ("urn:ietf:wg:oauth:2.0:oob", "loopback"),
        ("urn:ietf:wg:oauth:2.0:oob:auto", "loopback"),
        ("urn:example:x", "no place"),
        ("myapp://", "no place"),
        ("HTTPS://app.example/cb", "write https"),
        ("app.example/cb", "is not an absolute URI"),
        ("http://app.example/cb", "use https"),
        ("https://", "no host"),
        ("https:/app.example/cb", "no host"),
    ],
)
def test_the_fault_says_what_was_meant(uri: str, why: str) -> None:
    assert why in (redirect_uri_fault(uri) or "")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "app.localhost", "a.b.localhost."])
def test_every_name_below_localhost_is_the_users_own_machine(host: str) -> None:
    """RFC 6761 §6.3."""
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host", ["notlocalhost", "localhost.example", "127.0.0.1.example", "127.0.0.256", "128.0.0.1"]
)
def test_a_name_that_looks_like_it_is_not(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize(
    "requested", ["http://localhost:51004/cb", "http://localhost/cb", "http://localhost:1/cb"]
)
def test_a_client_may_be_registered_for_every_port_of_localhost(requested: str) -> None:
    assert matches_registered(requested, ["http://localhost/cb"], loopback_ports=True)


@pytest.mark.parametrize(
    "requested",
    [
        "http://localhost:51004/other",
        "http://localhost:51004/cb?x=1",
        "http://localhost:0/cb",
        "http://localhost:65536/cb",
        "http://127.0.0.1:51004/cb",
        "https://localhost:51004/cb",
        "http://localhost:51004@evil.example/cb",
        "http://app.localhost:51004/cb",
        "http://LOCALHOST:51004/cb",
    ],
)
def test_but_for_the_port_it_is_compared_to_the_letter(requested: str) -> None:
    assert not matches_registered(requested, ["http://localhost/cb"], loopback_ports=True)


def test_without_that_the_port_of_localhost_counts() -> None:
    """RFC 8252 §8.3."""
    assert not matches_registered("http://localhost:51004/cb", ["http://localhost/cb"])
    assert matches_registered("http://127.0.0.1:51004/cb", ["http://127.0.0.1/cb"])
