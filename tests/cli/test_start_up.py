"""Help comes at once: a command imports what it needs when it runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gateway
from gateway.application import create_app
from gateway.config.file import load_config
from gateway.middleware import OAuthGateway


def test_help_imports_neither_the_store_nor_the_settings() -> None:
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gateway", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "click" in imported
    assert imported.isdisjoint({"redis", "pydantic", "werkzeug", "jinja2", "gunicorn"})


def test_the_package_hands_its_three_names_on() -> None:
    assert gateway.OAuthGateway is OAuthGateway
    assert gateway.create_app is create_app
    assert gateway.load_config is load_config
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gateway.nothing
