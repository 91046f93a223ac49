"""The gateway of ``examples/gateway.toml``, and one like it whose store is gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from gateway.users.passwords import hash_password
from tests.forward_auth.proxies import EXAMPLES, edited
from tests.support.processes import free_port, python_module, running
from tests.support.running_gateway import PASSWORD, RunningGateway

_EXAMPLE_HASH = (
    "scrypt:32768:8:1$ShJuk3tqbc4ECNQU$4ea282363fb7d3c65d9643f4ef035fa84c134d15ed2d4571"
    "b95ee8e705f7e532b7c8025052cac974c68b62cc764eab66d258ae34850c6aeff0c7638cc2aef13b"
)
# The same for all of them: what one gateway gives, another one takes.
_SECRET_KEY = "a secret key for tests that is long enough"


@cache
def _password_hash() -> str:
    return hash_password(PASSWORD)


def write_example(
    folder: Path,
    *,
    port: int,
    backend: int,
    example: str = "gateway.toml",
    more: Mapping[str, str] | None = None,
) -> Path:
    """Write an example's settings with this test's ports, files and password."""
    keys = folder / "secret-keys"
    keys.write_text(_SECRET_KEY)
    keys.chmod(0o600)
    replacements = {
        "https://gateway.example.com": f"http://127.0.0.1:{port}",
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "127.0.0.1:8080": f"127.0.0.1:{backend}",
        "/var/lib/oauth-gateway": str(folder / "data"),
        "/var/log/oauth-gateway": str(folder),
    }
    if example == "gateway.toml":
        replacements[_EXAMPLE_HASH] = _password_hash()
    path = folder / "gateway.toml"
    path.write_text(edited(example, replacements | dict(more or {})))
    return path


@contextmanager
def running_example(
    folder: Path, *, backend: int, example: str = "gateway.toml", store: str = "embedded"
) -> Iterator[RunningGateway]:
    """Run ``gateway serve`` with an example's settings."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "gateway.log"
    more = {'url = "embedded"': f'url = "{store}"'}
    config = write_example(folder, port=port, backend=backend, example=example, more=more)
    url = f"http://127.0.0.1:{port}"
    command = python_module("gateway", "serve", "--config", str(config))
    with running(command, log=log, ready=f"{url}/oauth/health", any_status=True):
        yield RunningGateway("standalone", url, config, folder / "data", folder / "audit.log", log)


@contextmanager
def running_wrapped(folder: Path) -> Iterator[RunningGateway]:
    """Run the application of ``wsgi_app.py`` as it says itself."""
    port, log = free_port(), folder / "gunicorn.log"
    config = write_example(folder, port=port, backend=9)
    url = f"http://127.0.0.1:{port}"
    command = [
        *python_module("gunicorn", "--bind", f"127.0.0.1:{port}", "--no-control-socket"),
        *("--chdir", str(EXAMPLES), "wsgi_app:app"),
    ]
    environ = {"GATEWAY_CONFIG": str(config)}
    with running(command, log=log, ready=f"{url}/oauth/health", environ=environ):
        yield RunningGateway("wrapped", url, config, folder / "data", folder / "audit.log", log)
