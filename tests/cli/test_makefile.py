"""``make`` finds a Python that is new enough, and is not held up by what an older one left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command_line import ENVIRONMENT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")

_MAKEFILE = Path(__file__).parents[2] / "Makefile"
_SECONDS = 120
_TOO_OLD = "Python 3.11 or newer is needed; {} is 3.9."


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the Makefile, and nothing to install."""
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copy(_MAKEFILE, folder)
    (folder / "pyproject.toml").touch()
    return folder


def python_3_9(path: Path) -> Path:
    """A Python that says that it is an older one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"#!{sys.executable}\nimport sys\nsys.version_info = (3, 9, 2)\nexec(sys.argv[2])\n"
    )
    path.chmod(0o755)
    return path


def make(clone: Path, python: Path | str) -> subprocess.CompletedProcess[str]:
    """Make the virtual environment that ``make run`` needs, and install nothing into it."""
    return subprocess.run(
        ["make", ".venv/run.stamp", f"PYTHON={python}", "PIP_INSTALL=@echo"],
        cwd=clone,
        env=ENVIRONMENT,
        check=False,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )


def version(python: Path) -> str:
    command = [str(python), "-c", "import sys; print(sys.version_info[:2])"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_too_old_a_python_is_told_which_one_is_needed(clone: Path, tmp_path: Path) -> None:
    old = python_3_9(tmp_path / "python3.9")
    ended = make(clone, old)
    assert ended.returncode == 2
    assert _TOO_OLD.format(old) in ended.stderr
    assert "PYTHON=python3.13" in ended.stderr
    assert not (clone / ".venv").exists()


def test_a_missing_python_is_told_so(clone: Path) -> None:
    ended = make(clone, "python-of-nowhere")
    assert ended.returncode == 2
    assert "python-of-nowhere is missing." in ended.stderr


def test_an_environment_of_an_older_python_is_made_anew(clone: Path, tmp_path: Path) -> None:
    old = python_3_9(clone / ".venv" / "bin" / "python")
    (clone / ".venv" / "pyvenv.cfg").write_text("version = 3.9.2\n")
    assert make(clone, old).returncode == 2
    ended = make(clone, sys.executable)
    assert ended.returncode == 0, ended.stderr
    assert version(clone / ".venv" / "bin" / "python") == str(sys.version_info[:2])


def test_an_environment_without_pip_is_made_anew(clone: Path) -> None:
    """Debian's python3 makes such a one where python3-venv is missing."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    ended = make(clone, sys.executable)
    assert ended.returncode == 0, ended.stderr
    command = [str(clone / ".venv" / "bin" / "python"), "-m", "pip", "--version"]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0


def test_a_folder_that_is_no_environment_is_not_emptied(clone: Path) -> None:
    (clone / ".venv").mkdir()
    (clone / ".venv" / "notes").write_text("mine")
    assert make(clone, sys.executable).returncode == 0
    assert (clone / ".venv" / "notes").read_text() == "mine"
