"""What the values of a good configuration file become."""

from __future__ import annotations

import os
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway.config.file import load_config
from gateway.config.settings import Client, Route, Settings, Store, Upstream, User
from tests.config.config_samples import (
    ISSUER,
    KEY,
    SCOPES,
    USER,
    USER_HASH,
    WEB_CLIENT,
    faults,
    read,
)


def test_an_issuer_and_a_secret_key_are_enough() -> None:
    settings = read(ISSUER)
    assert settings.issuer == "http://localhost:8000"
    assert settings.secret_keys == (KEY.encode(),)
    assert settings == Settings(
        issuer="http://localhost:8000",
        secret_keys=(KEY.encode(),),
        store=Store(data_dir=Path("/etc/gateway/gateway-data")),
    )


def test_values_become_the_types_of_their_fields() -> None:
    settings = read(
        ISSUER
        + '[server]\ntrusted_proxies = ["10.0.0.0/8", "::1"]\ngraceful_seconds = 5\n'
        + '[upstream]\nurl = ["http://a:1", "unix:/run/b.sock"]\nheaders = { X-Site = "main" }\n'
        + SCOPES
        + WEB_CLIENT
        + 'scopes = ["project"]\n'
        + USER
        + '[[routes]]\npath = "/a/**"\nmethods = ["GET", "PUT"]\nscopes = ["project"]\n'
    )
    assert settings.server.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1/128"))
    assert isinstance(settings.server.graceful_seconds, float)
    assert settings.upstream == Upstream(
        urls=("http://a:1", "unix:/run/b.sock"), headers={"X-Site": "main"}
    )
    assert settings.scopes == {"project": "See your projects"}
    assert settings.clients == (
        Client(
            client_id="my-app",
            name="My App",
            redirect_uris=("https://app.example/cb",),
            scopes=("project",),
        ),
    )
    assert settings.sign_in.users == (User(name="demo", password_hash=USER_HASH),)
    assert settings.routes == (Route(path="/a/**", methods=("GET", "PUT"), scopes=("project",)),)


def test_settings_cannot_be_changed() -> None:
    settings = read(ISSUER + SCOPES + '[upstream]\nheaders = { A = "b" }\n')
    for mapping in (settings.scopes, settings.upstream.headers):
        with pytest.raises(TypeError):
            mapping["x"] = "y"  # type: ignore[index]  # that is the point
    assert hash(settings.clients) == hash(())


def test_one_upstream_url_needs_no_list() -> None:
    assert read(ISSUER + '[upstream]\nurl = "https://b:8443"\n').upstream.urls == (
        "https://b:8443",
    )


def test_relative_paths_are_relative_to_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ca.pem", "client.pem"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "keys").write_text(f"{KEY}\n")
    (tmp_path / "keys").chmod(0o640)
    (tmp_path / "logs").mkdir()
    (tmp_path / "gateway.toml").write_text(
        'secret_key_file = "keys"\n'
        + ISSUER
        + '[upstream]\nurl = "https://b"\nca_file = "ca.pem"\n'
        + '[store]\nurl = "rediss://r"\ndata_dir = "data"\ncert_file = "./client.pem"\n'
        + '[audit]\nfile = "logs/audit.log"\n'
    )
    monkeypatch.chdir("/")
    monkeypatch.delenv("GATEWAY_SECRET_KEY", raising=False)
    settings = load_config(os.path.relpath(tmp_path / "gateway.toml"))
    assert settings.secret_keys == (KEY.encode(),)
    assert settings.upstream.ca_file == tmp_path / "ca.pem"
    assert settings.store.data_dir == tmp_path / "data"
    assert settings.store.cert_file == tmp_path / "client.pem"
    assert settings.audit.file == str(tmp_path / "logs/audit.log")


def test_absolute_paths_stay() -> None:
    settings = read(ISSUER + '[store]\ndata_dir = "/var/lib/gateway"\n')
    assert settings.store.data_dir == Path("/var/lib/gateway")


def test_the_digest_of_a_secret_is_lower_case() -> None:
    settings = read(ISSUER + WEB_CLIENT + f'secret_sha256 = "{"AB" * 32}"\n' + USER)
    assert settings.clients[0].secret_sha256 == "ab" * 32


def test_a_route_of_another_host_is_reached() -> None:
    route = '[[routes]]\npath = "/a"\nhost = "{}"\n'
    both = route.format("one.example") + route.format("two.example")
    assert faults(ISSUER + both + route.format("")) == []
    assert len(faults(ISSUER + both + route.format("one.example"))) == 1
    assert len(faults(ISSUER + route.format("") + route.format("one.example"))) == 1
