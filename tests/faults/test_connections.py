"""Ways to a store: over TLS, through a socket file, with a user and a password; and wrong ones.

A gateway that the store does not let in is a gateway without a store: it answers 503, and calls no
token bad.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from gateway.config.settings import Store, Tokens
from gateway.grants.index_repair import list_live_grants_again
from gateway.store.diagnostics import store_warnings
from gateway.store.redis_client import RedisClient, StoreUnavailable
from gateway.token_store import TokenStore
from gateway.tokens.token import Kind, TokenKeys, new_grant_id
from tests.faults.servers import Server, wait_until
from tests.faults.site import LIMIT, Site, at_once, site, tokens_of
from tests.faults.tls import Authority, TlsServer, skip_without_tls, tls_lines
from tests.faults.topologies import PRIMARY_NAME, SLOTS, one_node
from tests.support.oauth_client import Client
from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import write_settings

SECRET_KEY = b"a secret key for tests that is long enough"
#: The permissions that a gateway needs, and no others.
LEAST = (
    *("on", ">pass:word@/", "resetkeys", "~gateway:*", "resetchannels", "-@all"),
    *("+@connection", "+@read", "+@write", "+@scripting", "-@dangerous"),
    *("+info", "+wait", "+time", "+config|get", "+role", "+cluster|slots"),
)
LOGIN = "gateway:pass%3Aword%40%2F"


# --- A user and a password


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Iterator[Server]:
    """A server, on a port and on a socket file, that lets in one user with a password."""
    socket = folder / "guarded.sock"
    with one_node(folder / "guarded", "--unixsocket", str(socket)) as server:
        server.ask("ACL", "SETUSER", "gateway", *LEAST)
        server.ask("ACL", "SETUSER", "tester", "on", ">t", "~*", "&*", "+@all")
        server.login = ("tester", "t")
        server.ask("ACL", "SETUSER", "default", "off")
        yield server


@pytest.mark.parametrize("way", ["redis", "unix"])
def test_a_user_who_may_do_no_more_than_the_gateway_needs_is_enough(
    folder: Path, guarded: Server, way: str
) -> None:
    """The whole life, every list and every check: the store refuses nothing."""
    url = (
        f"redis://{LOGIN}@127.0.0.1:{guarded.port}"
        if way == "redis"
        else f"unix://{LOGIN}@{folder / 'guarded.sock'}"
    )
    with site("standalone", folder / f"acl-{way}", url) as found:
        _judge_life(found)
    link = RedisClient(Store(url=url))
    assert store_warnings(link) == []
    assert list_live_grants_again(link, TokenStore(link, "gateway", Tokens())) > 0
    link.close()
    assert guarded.ask("ACL", "LOG") == []


def test_a_store_that_does_not_say_how_it_is_set_up_is_warned_of(guarded: Server) -> None:
    guarded.ask("ACL", "SETUSER", "blind", "on", ">b", "resetkeys", "~gateway:*", "+@read")
    link = RedisClient(Store(url=f"redis://blind:b@127.0.0.1:{guarded.port}"))
    [warning] = store_warnings(link)
    assert warning.text.startswith("it does not say how it is set up")
    link.close()
    guarded.ask("ACL", "DELUSER", "blind")
    guarded.ask("ACL", "LOG", "RESET")


def _judge_life(site: Site) -> None:
    tokens = site.tokens()
    refreshed = tokens_of(site.client.refresh(tokens.refresh))
    assert site.works(refreshed.access)
    assert site.works(site.tokens().access)
    page = site.browser.get("/oauth/applications")
    assert "Our Own App" in page.text
    assert site.client.revoke(refreshed.refresh).status_code == 200
    assert site.use(refreshed.access).status_code == 401


@pytest.mark.parametrize(
    "login",
    [
        pytest.param("gateway:wrong@", id="wrong password"),
        pytest.param("nobody:pass@", id="unknown user"),
        pytest.param("", id="no password"),
    ],
)
def test_a_store_that_lets_nobody_in_is_unavailable_and_no_token_is_bad(
    tmp_path: Path, guarded: Server, login: str
) -> None:
    port = free_port()
    config = write_settings(
        tmp_path,
        port=port,
        store=f"redis://{login}127.0.0.1:{guarded.port}",
        replace=(("timeout = 5.0", "timeout = 0.5"),),
    )
    url = f"http://127.0.0.1:{port}"
    with running(
        python_module("gateway", "serve", "--config", str(config)),
        log=tmp_path / "gateway.log",
        ready=f"{url}/oauth/health/live",
    ):
        client = Client(url, "own-app", redirect_uri="https://own.example/cb")
        newest, grant = TokenKeys((SECRET_KEY,)).newest, new_grant_id()
        access, refresh, code = (
            newest.random(kind, grant).text for kind in (Kind.ACCESS, Kind.REFRESH, Kind.CODE)
        )
        answers = at_once(
            [
                partial(client.get, "/resource", access),
                partial(client.get, "/oauth/health", access),
                partial(client.refresh, refresh),
                partial(client.redeem, code),
                partial(client.revoke, refresh),
            ]
            * 2
        )
    assert {each.status for each in answers} == {503}
    assert max(each.seconds for each in answers) < LIMIT
    assert not [each for each in answers if "invalid" in each.body]
    # The log says nothing secret about it.
    assert "wrong" not in (tmp_path / "gateway.log").read_text()


# --- TLS


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder, "authority")


@pytest.fixture(scope="module")
def files(authority: Authority) -> tuple[str, str, str]:
    """The server's certificate and key, and the authority of its clients."""
    certificate, key = authority.sign("127.0.0.1")
    return str(certificate), str(key), str(authority.file)


@pytest.fixture(scope="module")
def secure(folder: Path, files: tuple[str, str, str]) -> Iterator[Server]:
    """A server that wants a certificate of its clients."""
    skip_without_tls()
    server = TlsServer(folder / "secure", files)
    try:
        yield server.start()
    finally:
        server.kill()


def test_both_sides_show_a_certificate(folder: Path, secure: Server, authority: Authority) -> None:
    url = f"rediss://127.0.0.1:{secure.port}"
    with site("standalone", folder / "tls", url, store=tls_lines(authority)) as found:
        _judge_life(found)


def _answer(url: str, **store: Path | None) -> str:
    link = RedisClient(Store(url=url, **store))  # type: ignore[arg-type]
    try:
        return str(link.command("PING"))
    except StoreUnavailable:
        return "unavailable"
    finally:
        link.close()


def test_who_cannot_show_the_right_certificate_is_not_believed(
    tmp_path: Path, folder: Path, secure: Server, authority: Authority
) -> None:
    """Neither a store of another authority or another name, nor a client without one."""
    url = f"rediss://127.0.0.1:{secure.port}"
    certificate, key = authority.sign("client")
    ours = {"ca_file": authority.file, "cert_file": certificate, "key_file": key}
    assert _answer(url, **ours) == "PONG"
    stranger = Authority(tmp_path, "stranger")
    assert _answer(url, **{**ours, "ca_file": stranger.file}) == "unavailable"
    # The authorities that the machine trusts are not those of a private store.
    assert _answer(url, **{**ours, "ca_file": None}) == "unavailable"
    assert _answer(url, ca_file=authority.file) == "unavailable"
    their_certificate, their_key = stranger.sign("client")
    theirs = {"cert_file": their_certificate, "key_file": their_key}
    assert _answer(url, **{**ours, **theirs}) == "unavailable"
    assert _answer(f"rediss://localhost:{secure.port}", **ours) == "unavailable"
    assert _answer(f"redis://127.0.0.1:{secure.port}") == "unavailable"


def test_a_cluster_is_reached_over_tls(
    folder: Path, secure: Server, files: tuple[str, str, str], authority: Authority
) -> None:
    options = ("--cluster-enabled", "yes", "--tls-cluster", "yes")
    bus = ("--cluster-port", str(free_port()))
    node = TlsServer(folder / "tls-cluster", (*files, *options, *bus))
    try:
        node.start()
        node.ask("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        wait_until(lambda: "cluster_state:ok" in node.ask("CLUSTER", "INFO"))
        url = f"rediss+cluster://127.0.0.1:{node.port}"
        with site("standalone", folder / "tls-on-cluster", url, store=tls_lines(authority)) as on:
            _judge_life(on)
    finally:
        node.kill()


class TlsSentinel(TlsServer):
    """A Sentinel that is reached over TLS, and reaches the primary so."""

    def _options(self) -> tuple[str, ...]:
        return (str(self.folder / "sentinel.conf"), "--sentinel")

    def watch(self, primary: Server) -> None:
        self.folder.mkdir(parents=True)
        certificate, key, authority, *_ = self.options
        (self.folder / "sentinel.conf").write_text(
            f"port 0\ntls-port {self.port}\nbind 127.0.0.1\ntls-replication yes\n"
            f"tls-cert-file {certificate}\ntls-key-file {key}\ntls-ca-cert-file {authority}\n"
            f"sentinel monitor {PRIMARY_NAME} 127.0.0.1 {primary.port} 1\n"
        )


def test_sentinel_and_its_primary_are_reached_over_tls(
    folder: Path, secure: Server, files: tuple[str, str, str], authority: Authority
) -> None:
    watching = TlsSentinel(folder / "tls-sentinel", files)
    watching.watch(secure)
    try:
        watching.start()
        url = f"rediss+sentinel://127.0.0.1:{watching.port}/{PRIMARY_NAME}"
        with site("standalone", folder / "tls-behind", url, store=tls_lines(authority)) as found:
            _judge_life(found)
    finally:
        watching.kill()
