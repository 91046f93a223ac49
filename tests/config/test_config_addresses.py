"""Where a gateway listens, whom it trusts, and where its backend and its store are."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tests.config.config_samples import ISSUER, faults, read


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
