"""Gateways of two neighbouring versions on one store; and versions that are too far apart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from redis import Redis

from gateway.store.format import FORMAT
from tests.support.assertions import assert_refused
from tests.support.oauth_client import Browser
from tests.support.parties import Parties, Tokens, signed_in_browser
from tests.support.processes import ROOT, free_port, python_module, running
from tests.support.running_gateway import running_gateway, write_settings
from tests.support.serving import until
from tests.support.store import embedded, grant_id, stored_grant

#: The member that only a later version writes. A careless rewriting would spoil its values.
LATER = '{"by": ["the", "next"], "at": 1795477796123, "note": null}'


def version(folder: Path, ahead: int) -> dict[str, str]:
    """Make a version of the gateway that is so many formats ahead; return its environment.

    Its format has that number, and its scripts give every grant one more member.
    """
    shutil.copytree(ROOT / "gateway", folder / "gateway")
    for name, before, after in (
        ("store/format.py", f"FORMAT = {FORMAT}\n", f"FORMAT = {FORMAT + ahead}\n"),
        (
            "tokens/lua/prelude.lua",
            "  grant.format = ",
            f"  grant.later = cjson.decode('{LATER}')\n  grant.format = ",
        ),
    ):
        path = folder / "gateway" / name
        text = path.read_text()
        assert text.count(before) == 1
        path.write_text(text.replace(before, after))
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


class Two(NamedTuple):
    """The parties at a gateway of this version, at one of the next, and their store."""

    this: Parties
    next: Parties
    redis: Redis


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder: Path = tmp_path_factory.mktemp("two-versions")
    data_dir = folder / "data"
    with ExitStack() as stack:
        redis = stack.enter_context(embedded(data_dir))
        this = stack.enter_context(
            running_gateway("standalone", folder / "this", data_dir=data_dir)
        )
        port = free_port()
        (folder / "next").mkdir()
        config = write_settings(
            folder / "next",
            port=port,
            data_dir=data_dir,
            upstream=_upstream_of(this.config),
        )
        url = f"http://127.0.0.1:{port}"
        stack.enter_context(
            running(
                python_module("gateway", "serve", "--config", str(config)),
                log=folder / "next" / "gateway.log",
                ready=f"{url}/oauth/health",
                environ=version(folder / "next-version", 1),
            )
        )
        # Cookies know hosts, not ports: a browser that is signed in at one is at each.
        browser = signed_in_browser(this.url)
        yield Two(Parties(this.url, browser), Parties(url, Browser(url, browser.session)), redis)


def _upstream_of(config: Path) -> str:
    (line,) = [each for each in config.read_text().splitlines() if each.startswith('url = "http')]
    return line.split('"')[1]


@pytest.fixture(params=["from this", "from the next"])
def here_there(two: Two, request: pytest.FixtureRequest) -> tuple[Parties, Parties]:
    """The gateway that gives, and the other one."""
    here, there = two.this, two.next
    return (here, there) if request.param == "from this" else (there, here)


def exchanged(answer: requests.Response) -> Tokens:
    members = answer.json()
    return Tokens(members["access_token"], members["refresh_token"])


def assert_valid_at_both(two: Two, access: str) -> None:
    assert two.this.is_valid(access)
    assert two.next.is_valid(access)


def test_the_next_version_has_said_that_it_is_there(two: Two) -> None:
    assert two.redis.get("gateway:format") == str(FORMAT + 1)


def test_a_grant_goes_to_and_fro_between_them(
    two: Two, here_there: tuple[Parties, Parties]
) -> None:
    """Its code is redeemed at the other one, and each refreshes what the other has given."""
    here, there = here_there
    given = [exchanged(there.public.redeem(here.code(here.public)))]
    for turn in range(4):
        at = (there, here)[turn % 2].public
        given.append(exchanged(at.refresh(given[-1].refresh)))
        # Repeated within the grace time at the other one, it gives the same pair.
        again = (here, there)[turn % 2].public.refresh(given[-2].refresh)
        assert exchanged(again) == given[-1]
    for each in given:
        assert_valid_at_both(two, each.access)
        told = here.confidential.introspect(each.access).json()
        assert there.confidential.introspect(each.access).json() == told


@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_what_one_takes_back_is_dead_at_the_other(
    two: Two, here_there: tuple[Parties, Parties], kind: str
) -> None:
    here, there = here_there
    tokens = here.tokens(here.public)
    assert_valid_at_both(two, tokens.access)
    assert there.public.revoke(getattr(tokens, kind)).json() == {"message": "success"}
    assert not here.is_valid(tokens.access)
    assert not there.is_valid(tokens.access)
    refreshed = here.public.refresh(tokens.refresh)
    assert refreshed.status_code == (200 if kind == "access" else 400)


def test_a_replay_at_one_ends_what_the_other_gave(
    two: Two, here_there: tuple[Parties, Parties]
) -> None:
    here, there = here_there
    code = here.code(here.public)
    tokens = exchanged(here.public.redeem(code))
    assert_refused(there.public.redeem(code), "invalid_grant")
    assert not here.is_valid(tokens.access)


def test_what_the_next_version_adds_to_a_grant_stays_in_it(two: Two) -> None:
    """This version does not know the member, and rewrites the grant in every way it has."""
    _, after, redis = two
    tokens = after.tokens(after.public)
    grant = grant_id(tokens.access)
    until(lambda: "undelivered" not in stored_grant(redis, grant))
    this = two.this
    assert this.is_valid(tokens.access)
    rotated = exchanged(this.public.refresh(tokens.refresh))
    until(lambda: "undelivered" not in stored_grant(redis, grant))
    this.public.revoke(rotated.access)
    kept = stored_grant(redis, grant)
    assert kept["later"] == json.loads(LATER)
    assert kept["format"] == FORMAT + 1
    assert list(kept["revoked"]) != []
    assert_valid_at_both(two, tokens.access)


def test_this_version_writes_its_own_format(two: Two) -> None:
    tokens = two.this.tokens(two.this.public)
    kept = stored_grant(two.redis, grant_id(tokens.access))
    assert kept["format"] == FORMAT
    assert "later" not in kept


# --- Too far apart


def _run(*command: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python_module(*command),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, **environ},
        check=False,
    )


@pytest.fixture(scope="module")
def too_new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The configuration of a store on which the version after the next one has started."""
    folder: Path = tmp_path_factory.mktemp("too-new")
    config = write_settings(folder, port=free_port())
    later = version(folder / "later", 2)
    with embedded(folder / "data") as redis:
        done = _run("gateway", "check", "--store", "--config", str(config), environ=later)
        assert done.returncode == 0, done.stderr
        assert redis.get("gateway:format") == str(FORMAT + 2)
        yield config


@pytest.mark.parametrize(
    "command", ["serve", "check --store", "grant list --user demo"], ids=["serve", "check", "list"]
)
def test_a_store_that_is_two_formats_ahead_is_refused_with_words(
    too_new: Path, command: str
) -> None:
    done = _run("gateway", *command.split(), "--config", str(too_new), environ={})
    assert done.returncode == 2
    assert done.stderr == (
        f"Error: A newer gateway has written to the store, in format {FORMAT + 2}. This version"
        f" reads formats up to {FORMAT + 1}. Install a version that reads format {FORMAT + 2}, or"
        " give this gateway a store or a store.key_prefix of its own.\n"
    )


def test_a_wrapped_application_is_refused_such_a_store(too_new: Path) -> None:
    done = _run("tests.support.wrapped", environ={"GATEWAY_CONFIG": str(too_new)})
    assert done.returncode == 1
    assert (
        f"UnreadableStoreError: A newer gateway has written to the store, in format {FORMAT + 2}"
        in done.stderr
    )
