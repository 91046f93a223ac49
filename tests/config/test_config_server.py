"""What the gateway's own tables may hold: addresses, files, lifetimes, paths, headers."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.config.file import ConfigError, settings_from_toml
from gateway.config.grammar import upstream_header_fault
from gateway.http.header_policy import HOP_BY_HOP
from tests.config.config_samples import (
    ENVIRON,
    ISSUER,
    faults,
    read,
)

# --- The issuer


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


# --- Addresses


@pytest.mark.parametrize(
    "listen", ["127.0.0.1:8000", "0.0.0.0:0", "[::1]:8000", "[::]:80", "host_1:80", "unix:/run/g"]
)
def test_a_gateway_listens_on_a_host_and_port_or_a_socket(listen: str) -> None:
    trusted = 'trusted_proxies = ["unix"]' if listen.startswith("unix:") else ""
    assert read(f'{ISSUER}[server]\nlisten = "{listen}"\n{trusted}\n').server.listen == listen


def test_on_a_unix_socket_the_proxy_must_be_trusted() -> None:
    """Otherwise all its clients are one, and share one limit of attempts."""
    [line] = faults(f'{ISSUER}[server]\nlisten = "unix:/run/g"\n')
    assert line == (
        "[server] listen: is a unix socket, so only a proxy can tell clients apart:"
        " put 'unix' in [server] trusted_proxies"
    )


@pytest.mark.parametrize(
    "listen",
    [
        "127.0.0.1",
        ":8000",
        "::1:8000",
        "[::1]",
        "a:b",
        "a:65536",
        "unix:run/g",
        "unix://run",
        "",
        "a/b:1",
    ],
)
def test_a_gateway_listens_on_nothing_else(listen: str) -> None:
    [line] = faults(f'{ISSUER}[server]\nlisten = "{listen}"\n')
    assert line.startswith("[server] listen: must ")


@pytest.mark.parametrize(
    ("proxies", "why"),
    [
        ("'proxy.example'", "'proxy.example' must be an IP address, a CIDR block or unix"),
        ("'10.0.0.0/33'", "must be an IP address, a CIDR block or unix"),
        ("'10.0.0.1/8'", "is an address in a block, not a block; did you mean '10.0.0.0/8'?"),
        ("'::1', '::1'", "'::1' is there twice"),
    ],
)
def test_a_trusted_proxy_is_an_address_or_a_block(proxies: str, why: str) -> None:
    [line] = faults(f"{ISSUER}[server]\ntrusted_proxies = [{proxies}]\n")
    assert line.startswith("[server] trusted_proxies: ")
    assert why in line


@pytest.mark.parametrize("block", ["10.0.0.0/8", "FD00::/8", "fd00:0::/32", "::ffff:10.0.0.1"])
def test_every_spelling_of_a_block_is_taken(block: str) -> None:
    settings = read(f'{ISSUER}[server]\ntrusted_proxies = ["{block}"]\n')
    assert settings.server.trusted_proxies == (ip_network(block),)


@pytest.mark.parametrize(
    "url", ["http://localhost", "https://backend:8443", "http://[::1]:1", "unix:/run/app.sock"]
)
def test_an_upstream_is_a_host_and_port_or_a_socket(url: str) -> None:
    assert read(f'{ISSUER}[upstream]\nurl = "{url}"\n').upstream.urls == (url,)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://b/", "forwarded byte for byte"),
        ("http://b:1/app", "forwarded byte for byte"),
        ("http://b?x", "forwarded byte for byte"),
        ("http://b#x", "forwarded byte for byte"),
        ("b:8080", "must be an http or https URL"),
        ("ws://b", "must be an http or https URL"),
        ("http://", "must have a host"),
        ("http://b\\r\\n", "must have a host"),
        ("http://b:x", "must have a host"),
        ("http://me@b", "must have no user or password"),
        ("unix:app.sock", "must be unix:/path, from the root"),
    ],
)
def test_an_upstream_is_nothing_else(url: str, why: str) -> None:
    [line] = faults(f'{ISSUER}[upstream]\nurl = "{url}"\n')
    assert line.startswith("[upstream] url: ")
    assert why in line


def test_the_faulty_one_of_several_upstreams_is_named_by_its_position() -> None:
    [line] = faults(f'{ISSUER}[upstream]\nurl = ["http://a", "http://b/x"]\n')
    assert line.startswith("[upstream] url: #2 must end after")


@pytest.mark.parametrize(
    "url",
    [
        "embedded",
        "redis://localhost",
        "redis://me:p%40ss@redis.example:6380/1",
        "rediss://:pw@[::1]:6379",
        "unix:///run/redis.sock",
        "unix://me:pw@/run/redis.sock",
        "redis+sentinel://:pw@a:26379,b:26379/mymaster/0",
        "rediss+sentinel://a",
        "redis+cluster://a:7000,b:7001,[::1]:7002",
        "rediss+cluster://a/",
    ],
)
def test_a_store_is_a_redis_in_any_topology(url: str) -> None:
    assert read(f'{ISSUER}[store]\nurl = "{url}"\n').store.url == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("memory", "must be embedded, or a URL that begins with redis"),
        ("http://host", "must be embedded, or a URL that begins with redis"),
        ("redis:/host", "must be embedded, or a URL that begins with redis"),
        ("redis://", "must have a host"),
        ("redis://a,", "must have a host"),
        ("redis://a:port", "must have a host"),
        ("redis://a:70000", "must have a port"),
        ("redis://pw@a", "user:password@ or :password@"),
        ("redis://a/one", "must end in /DATABASE"),
        ("redis://a?db=1", "must have no query"),
        ("redis://:p#w@a", "must have no query and no fragment"),
        ("redis+cluster://a/1", "a cluster has one database"),
        ("redis+sentinel://a/my/one", "must end in /SERVICE"),
        ("unix://redis.sock", "must be unix:///path"),
        ("unix:///run/redis.sock?db=1", "must be unix:///path"),
    ],
)
def test_a_store_is_nothing_else(url: str, why: str) -> None:
    [line] = faults(f'{ISSUER}[store]\nurl = "{url}"\n')
    assert line.startswith("[store] url: ")
    assert why in line


@pytest.mark.parametrize("prefix", ["", "a b", "{a}", "a*", "a" * 65, "ü", "a\\n"])
def test_a_key_prefix_is_a_plain_word(prefix: str) -> None:
    [line] = faults(f'{ISSUER}[store]\nkey_prefix = "{prefix}"\n')
    assert line.startswith("[store] key_prefix: must be 1 to 64 letters")


# --- Files of certificates


def test_a_certificate_file_that_is_none_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    written = f"""{ISSUER}
        [upstream]
        url = "https://b"
        ca_file = "no.pem"
        [store]
        url = "rediss://r"
        ca_file = "empty.pem"
        key_file = "."
    """
    with pytest.raises(ConfigError) as raised:
        settings_from_toml(written, base=tmp_path, environ=ENVIRON)
    assert [str(fault) for fault in raised.value.faults] == [
        "[upstream] ca_file: cannot be read: No such file or directory",
        "[store] ca_file: holds nothing in PEM format",
        "[store] key_file: cannot be read: Is a directory",
    ]


def test_a_certificate_for_a_url_without_tls_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    written = f'{ISSUER}[upstream]\nca_file = "ca.pem"\n[store]\nca_file = "ca.pem"\n'
    with pytest.raises(ConfigError) as raised:
        settings_from_toml(written, base=tmp_path, environ=ENVIRON)
    assert [str(fault) for fault in raised.value.faults] == [
        "[store] ca_file: is for a url that begins with rediss",
        "[upstream] ca_file: is for a url that begins with https",
    ]


def test_a_login_for_sentinels_that_are_not_there_is_a_fault() -> None:
    login = 'sentinel_user = "u"\nsentinel_password = "p"\n'
    message = "is for a url with +sentinel"
    assert faults(f'{ISSUER}[store]\nurl = "redis://r"\n{login}') == [
        f"[store] sentinel_user: {message}",
        f"[store] sentinel_password: {message}",
    ]
    assert faults(f'{ISSUER}[store]\nurl = "redis+sentinel://r"\n{login}') == []
    [line] = faults(f'{ISSUER}[store]\nurl = "redis+sentinel://r"\nsentinel_user = "u"\n')
    assert line == "[store] sentinel_user: has no sentinel_password"


def test_an_audit_log_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[audit\] file: is in a folder that is not there"):
        settings_from_toml(
            f'{ISSUER}[audit]\nfile = "logs/audit.log"\n', base=tmp_path, environ=ENVIRON
        )


# --- Lifetimes


@pytest.mark.parametrize(
    ("tokens", "line"),
    [
        (
            "refresh_seconds = 10\nrefresh_grace_seconds = 11",
            "[tokens] refresh_grace_seconds: must be at most refresh_seconds, 10",
        ),
        (
            "access_seconds = 3_000_000\ngrant_seconds = 2_600_000",
            "[tokens] access_seconds: must be at most grant_seconds, 2600000",
        ),
        (
            "grant_seconds = 86_400",
            "[tokens] refresh_seconds: must be at most grant_seconds, 86400",
        ),
    ],
)
def test_a_token_that_outlives_what_it_depends_on_is_a_fault(tokens: str, line: str) -> None:
    assert faults(f"{ISSUER}[tokens]\n{tokens}\n") == [line]


def test_a_faulty_lifetime_is_not_compared_with_others() -> None:
    assert faults(
        f"{ISSUER}[tokens]\nrefresh_seconds = -1\nrefresh_grace_seconds = 9_000_000\n"
    ) == ["[tokens] refresh_seconds: must be at least 1"]


# --- Endpoints


@pytest.mark.parametrize(
    "path",
    [
        "oauth/token",
        "/",
        "",
        "/a?b",
        "/a#b",
        "/a b",
        "/a\\u0000",
        "/a/../b",
        "/./a",
        "/%61",
        "//a",
        "/a//b",
        "/ü",
    ],
)
def test_an_endpoint_path_has_one_spelling(path: str) -> None:
    [line] = faults(f'{ISSUER}[endpoints]\ntoken = ["/token", "{path}"]\n')
    assert line.startswith(f"[endpoints] token: '{path}' must ".replace("\\u0000", "\\x00"))


def test_an_endpoint_needs_a_path() -> None:
    assert faults(f"{ISSUER}[endpoints]\ntoken = []\n") == ["[endpoints] token: must not be empty"]


@pytest.mark.parametrize(
    ("endpoints", "line"),
    [
        ("token = ['/a', '/a']", "[endpoints] token: '/a' is there twice"),
        ("token = ['/a']\nrevoke = ['/a']", "[endpoints] revoke: '/a' is a path of token already"),
        (
            "token = ['/oauth/health']",
            "[endpoints] health: '/oauth/health' is a path of token already",
        ),
    ],
)
def test_no_path_is_two_endpoints(endpoints: str, line: str) -> None:
    assert faults(f"{ISSUER}[endpoints]\n{endpoints}\n") == [line]


# --- Headers


@pytest.mark.parametrize(
    "header",
    [
        "",
        "X User",
        "X:User",
        "X\\r\\nUser",
        "ü",
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "AUTHORIZATION",
        "Cookie",
        "X-Forwarded-For",
        "X_Forwarded_Host",
        "Forwarded",
    ],
)
def test_identity_has_headers_of_its_own(header: str) -> None:
    [line] = faults(f'{ISSUER}[identity]\nuser = "{header}"\n')
    assert line.startswith("[identity] user: must be a header")


def test_identity_headers_are_told_apart_by_every_backend() -> None:
    assert faults(f'{ISSUER}[identity]\nuser = "X-Who"\nclient = "x_who"\n') == [
        "[identity] client: is the header of user already"
    ]


@pytest.mark.parametrize(
    ("headers", "line"),
    [
        ("'X Site' = 'a'", "[upstream.headers] 'X Site': must be a header name"),
        ("Connection = 'a'", "[upstream.headers] Connection: must not be set"),
        ('X-Site = "a\\r\\nb"', "[upstream.headers] X-Site: must have no control characters"),
        ('X-Site = "\\u0000"', "[upstream.headers] X-Site: must have no control characters"),
        ("X-Site = '€'", "[upstream.headers] X-Site: must have no control characters"),
        ("X-A = 'a', x-a = 'b'", "[upstream.headers] x-a: is the same header as X-A"),
        (
            "x_forwarded_user = 'admin'",
            "[upstream.headers] x_forwarded_user: is the header of [identity] user",
        ),
    ],
)
def test_an_added_header_that_cannot_be_sent_is_a_fault(headers: str, line: str) -> None:
    [fault] = faults(f"{ISSUER}[upstream]\nheaders = {{ {headers} }}\n")
    assert fault.startswith(line)


def test_headers_of_the_connection_are_refused_as_the_proxy_does() -> None:
    for name in HOP_BY_HOP | {"CONTENT_LENGTH", "EXPECT"}:
        assert upstream_header_fault(name.replace("_", "-").title()) is not None
    assert upstream_header_fault("Host") is None
