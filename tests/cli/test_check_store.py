"""``gateway check --store`` says which server does not work, and why, with the exit status 2."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.command_line import run
from tests.faults.topologies import Server, one_node
from tests.support.processes import free_port
from tests.support.running_gateway import write_settings


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a password, and also knows a user who may do next to nothing."""
    with one_node(tmp_path_factory.mktemp("guarded")) as server:
        server.ask("ACL", "SETUSER", "blind", "on", ">b", "resetkeys", "-@all", "+auth")
        server.ask("ACL", "SETUSER", "gateway", "on", ">right", "allkeys", "+@all")
        yield server


def fault(folder: Path, store: str) -> str:
    """Return what ``check --store`` says about a store; there must be nothing about a password."""
    path = write_settings(folder, port=free_port(), store=store)
    ended = run("check", "--store", "--config", path)
    assert ended.returncode == 2, ended
    assert "hunter2" not in ended.stdout + ended.stderr
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("Error: the store does not answer (")
    return line.removeprefix("Error: the store does not answer (").removesuffix(")")


def test_a_right_login_is_no_fault(tmp_path: Path, guarded: Server) -> None:
    store = f"redis://gateway:right@127.0.0.1:{guarded.port}"
    path = write_settings(tmp_path, port=free_port(), store=store)
    ended = run("check", "--store", "--config", path)
    assert (ended.returncode, "the store answers" in ended.stdout) == (0, True), ended


@pytest.mark.parametrize(
    ("login", "path", "words"),
    [
        ("", "/99", "DB index is out of range"),
        ("gateway:hunter2@", "", "it refuses the user and password of store.url"),
        (":hunter2@", "", "it refuses the user and password of store.url"),
        ("blind:b@", "", "the gateway's user may not do what it must"),
    ],
    ids=["database", "password", "password alone", "permission"],
)
def test_a_server_that_refuses_the_gateway_is_named_with_its_reason(
    tmp_path: Path, guarded: Server, login: str, path: str, words: str
) -> None:
    said = fault(tmp_path, f"redis://{login}127.0.0.1:{guarded.port}{path}")
    assert said.startswith(f"redis://127.0.0.1:{guarded.port}{path}: ")
    assert words in said


def test_tls_to_a_plain_port_says_that_the_port_has_none(tmp_path: Path, guarded: Server) -> None:
    said = fault(tmp_path, f"rediss://127.0.0.1:{guarded.port}")
    assert said.startswith(f"rediss://127.0.0.1:{guarded.port}: ")
    assert "write redis, not rediss" in said


def _secured(peer: socket.socket, tls: ssl.SSLContext | None) -> socket.socket:
    return tls.wrap_socket(peer, server_side=True) if tls else peer


@contextmanager
def answering(reply: bytes, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A port where everybody who says something gets this reply, and no more."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with suppress(OSError), _secured(peer, tls) as secured:
                    secured.recv(4096)
                    secured.sendall(reply)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x16", id="the alert of a TLS server"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="a web server"),
    ],
)
def test_a_port_that_does_not_speak_redis_is_said(tmp_path: Path, reply: bytes) -> None:
    with answering(reply) as port:
        said = fault(tmp_path, f"redis://127.0.0.1:{port}")
    assert said.startswith(f"redis://127.0.0.1:{port}: ")
    assert "write rediss, not redis" in said


def test_a_name_that_does_not_resolve_is_said(tmp_path: Path) -> None:
    said = fault(tmp_path, "redis://user:hunter2@store.invalid")
    assert said.startswith("redis://store.invalid:6379: the name does not resolve (")


def test_a_port_where_nobody_listens_is_said(tmp_path: Path) -> None:
    port = free_port()
    said = fault(tmp_path, f"redis://127.0.0.1:{port}")
    assert said == f"redis://127.0.0.1:{port}: no connection (Connection refused)"


def test_a_socket_that_is_not_there_is_said(tmp_path: Path) -> None:
    said = fault(tmp_path, f"unix://{tmp_path}/none.sock")
    assert said == f"unix://{tmp_path}/none.sock: no connection (No such file or directory)"


@pytest.mark.parametrize("topology", ["sentinel", "cluster"])
def test_several_hosts_are_all_named(tmp_path: Path, topology: str) -> None:
    first, second = free_port(), free_port()
    hosts = f"127.0.0.1:{first},127.0.0.1:{second}"
    said = fault(tmp_path, f"redis+{topology}://user:hunter2@{hosts}")
    assert said.startswith(f"redis+{topology}://{hosts}: ")


def test_a_server_that_is_silent_is_said_with_the_time_that_it_had(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
        path = write_settings(
            tmp_path,
            port=free_port(),
            store=f"redis://127.0.0.1:{port}",
            replace=(("timeout = 5.0", "timeout = 0.3"),),
        )
        ended = run("check", "--store", "--config", path)
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}: no answer in time; store.timeout is 0.3 s" in ended.stderr


def test_a_certificate_that_nobody_vouches_for_is_said(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=store", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with answering(b"", context) as port:
        said = fault(tmp_path, f"rediss://127.0.0.1:{port}")
    assert "the gateway does not trust the certificate (" in said
