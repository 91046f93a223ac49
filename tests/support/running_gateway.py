"""A gateway that runs: its address, its files, and the programs behind and beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from gateway.users.passwords import hash_password
from tests.support.processes import free_port, python_module, running

PASSWORD = "correct horse"
CONFIDENTIAL_SECRET = "sécret +1%"
SERVICE_SECRET = "service-secret"

_TEMPLATE = (Path(__file__).parent / "settings.toml").read_text()


@dataclass(frozen=True)
class RunningGateway:
    """One gateway under test. ``mode`` is wrapped, standalone or created."""

    mode: str
    url: str
    config: Path
    data_dir: Path
    audit: Path
    log: Path

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self.url.rpartition(":")[2])


def write_settings(
    folder: Path,
    *,
    port: int,
    upstream: str = "http://127.0.0.1:9",
    store: str = "embedded",
    data_dir: Path | None = None,
    tokens: str = "",
    replace: tuple[tuple[str, str], ...] = (),
    extra: str = "",
) -> Path:
    """Write a configuration file for a test; ``replace`` edits it, ``extra`` is appended."""
    text = _TEMPLATE
    for word, value in (
        ("ISSUER", f"http://127.0.0.1:{port}"),
        ("LISTEN", f"127.0.0.1:{port}"),
        ("UPSTREAM", upstream),
        ("STORE", store),
        ("DATA_DIR", str(data_dir or folder / "data")),
        ("AUDIT", str(folder / "audit.log")),
        ("TOKENS", tokens),
        ("SECRET_SHA256", sha256(CONFIDENTIAL_SECRET.encode()).hexdigest()),
        ("SERVICE_SHA256", sha256(SERVICE_SECRET.encode()).hexdigest()),
        ("PASSWORD_HASH", _password_hash()),
        *replace,
    ):
        assert word in text, f"nothing to replace: {word}"
        text = text.replace(word, value)
    path = folder / "gateway.toml"
    path.write_text(text + extra)
    # It has the secret key in it.
    path.chmod(0o600)
    return path


@cache
def _password_hash() -> str:
    return hash_password(PASSWORD)


@contextmanager
def running_gateway(mode: str, folder: Path, **settings: object) -> Iterator[RunningGateway]:
    """Run a gateway in front of the echo backend.

    ``mode`` is ``wrapped``, ``standalone``, or ``created``: what ``create_app`` gives under a
    WSGI server that is not ours. ``settings`` are those of :func:`write_settings`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = folder / "gateway.log"
    with ExitStack() as stack:
        if mode != "wrapped" and "upstream" not in settings:
            upstream_port = free_port()
            settings["upstream"] = f"http://127.0.0.1:{upstream_port}"
            stack.enter_context(
                running(
                    python_module("tests.support.echo", str(upstream_port)),
                    log=folder / "echo.log",
                    ready=f"http://127.0.0.1:{upstream_port}/",
                )
            )
        config = write_settings(folder, port=port, **settings)  # type: ignore[arg-type]
        url = f"http://127.0.0.1:{port}"
        stack.enter_context(
            running(
                _command(mode, port, config),
                log=log,
                ready=f"{url}/oauth/health",
                environ={"GATEWAY_CONFIG": str(config)},
            )
        )
        data_dir = settings.get("data_dir") or folder / "data"
        yield RunningGateway(mode, url, config, Path(str(data_dir)), folder / "audit.log", log)


def _command(mode: str, port: int, config: Path) -> list[str]:
    if mode == "standalone":
        return python_module("gateway", "serve", "--config", str(config))
    server = (*python_module("gunicorn", "--bind", f"127.0.0.1:{port}"), "--no-control-socket")
    if mode == "created":
        return [*server, "--worker-class", "sync", f"gateway:create_app({str(config)!r})"]
    return [*server, "--threads", "16", "tests.support.wrapped:app"]
