"""The systemd unit and the Dockerfile, as far as they can be tried without systemd and Docker."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.forward_auth.gateways import write_example
from tests.forward_auth.proxies import EXAMPLES, edited, listening
from tests.support.processes import ROOT, free_port, python_module, running

COMMAND = str(Path(sys.executable).with_name("gateway"))
GATEWAY = "/opt/oauth-gateway/bin/gateway"
CONFIG = "/etc/oauth-gateway/gateway.toml"


def instructions(name: str) -> list[str]:
    """Return what the Dockerfile says after each ``name``, lines joined."""
    text = (EXAMPLES / "Dockerfile").read_text().replace("\\\n", " ")
    return [
        line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(f"{name} ")
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on PATH")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "gateway.service"
    unit.write_text(edited("gateway.service", {GATEWAY: COMMAND}))
    command = ["systemd-analyze", "verify", str(unit)]
    verified = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_units_commands_check_and_run_the_gateway_which_tells_systemd(tmp_path: Path) -> None:
    """Type=notify: systemd waits for READY=1."""
    port = free_port()
    config = write_example(tmp_path, port=port, backend=9)
    unit = edited("gateway.service", {GATEWAY: COMMAND, CONFIG: str(config)})
    lines = dict(line.split("=", 1) for line in unit.splitlines() if line.startswith("Exec"))
    subprocess.run(lines["ExecStartPre"].split(), check=True, timeout=20, capture_output=True)
    told, log = str(tmp_path / "notify"), tmp_path / "gateway.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(told)
        systemd.settimeout(20)
        ready = f"http://127.0.0.1:{port}/oauth/health"
        environ = {"NOTIFY_SOCKET": told}
        with running(lines["ExecStart"].split(), log=log, ready=ready, environ=environ) as process:
            assert systemd.recv(1024).startswith(b"READY=1")
    assert process.returncode == 0


def test_the_image_is_made_of_files_that_are_there() -> None:
    for words in (each.split() for each in instructions("COPY")):
        for source in words[:-1]:
            assert source.startswith(("--from=", "/opt/")) or (ROOT / source).exists(), source


def test_the_containers_command_and_its_health_check_work(tmp_path: Path) -> None:
    port = free_port()
    config = write_example(tmp_path, port=port, backend=9)
    (entry,), (arguments,) = instructions("ENTRYPOINT"), instructions("CMD")
    assert json.loads(entry) == ["gateway"]
    replaced = {CONFIG: str(config), "0.0.0.0:8000": f"127.0.0.1:{port}"}
    command = [replaced.get(word, word) for word in json.loads(arguments)]
    (health,) = (line.partition("CMD ")[2] for line in instructions("HEALTHCHECK"))
    check = [word.replace(":8000/", f":{port}/") for word in json.loads(health)]
    check[0] = sys.executable
    assert subprocess.run(check, timeout=20, capture_output=True, check=False).returncode != 0
    with listening(python_module("gateway", *command), port, tmp_path / "gateway.log"):
        subprocess.run(check, timeout=20, check=True)
        assert urlopen(f"http://127.0.0.1:{port}/oauth/health", timeout=10).status == 200
