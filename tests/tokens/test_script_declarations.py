"""The declarations of the scripts, and their effect in a store without memory.

The store refuses a script that says ``#!lua`` before its first step, if it could not run to its
last one. It begins a script without that line, and may stop it in the middle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import pytest
from redis.exceptions import OutOfMemoryError

from gateway.config.settings import Store
from gateway.store.format import FORMAT
from gateway.store.redis_client import RedisClient, Script, StoreUnavailable, script
from tests.faults.topologies import Server, one_node

#: The scripts with a flag, and why each may have it.
FLAGS = {
    # A few bytes, once in the life of a store.
    "claim_format": "flags=allow-oom",
    # They end a token, a grant or an entry, or note a delivery: that needs hardly any memory.
    "drop_from_index": "flags=allow-oom",
    "mark_change": "flags=allow-oom",
    "note_delivery": "flags=allow-oom",
    "revoke_token": "flags=allow-oom",
    # It reads.
    "scan_index": "flags=no-writes",
}
#: Arguments with which each of these has something to do.
ARGUMENTS: dict[str, list[str | int]] = {
    "claim_format": [FORMAT],
    "drop_from_index": ["grant"],
    "mark_change": [],
    "note_delivery": ["digest", 1],
    "revoke_token": ["", ""],
    "scan_index": ["0", 100],
}


def _scripts() -> dict[str, Script]:
    """Return every script of every package, by its name."""
    found = {}
    for package in ("gateway.store", "gateway.tokens"):
        for each in files(package).joinpath("lua").iterdir():
            name = each.name.removesuffix(".lua")
            if name != "prelude":
                assert name not in found
                found[name] = script(package, name)
    return found


SCRIPTS = _scripts()
#: Commands that come on connections, and are no steps of a script.
_BESIDE = {"client", "eval", "evalsha", "info"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with one_node(tmp_path_factory.mktemp("declared") / "node") as server:
        yield server


@pytest.fixture(scope="module")
def link(node: Server) -> Iterator[RedisClient]:
    link = RedisClient(Store(url=f"redis://127.0.0.1:{node.port}", timeout=5.0))
    yield link
    link.close()


@contextmanager
def out_of_memory(node: Server) -> Iterator[None]:
    """Let the store be full until the block ends."""
    node.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        yield
    finally:
        node.ask("CONFIG", "SET", "maxmemory", "0")


def steps(node: Server) -> dict[str, int]:
    """Count the commands of scripts so far, the refused ones as well."""
    return {
        name: found["calls"] + found["rejected_calls"]
        for name, found in node.redis.info("commandstats").items()
        if name.removeprefix("cmdstat_").partition("|")[0] not in _BESIDE
    }


def test_every_script_declares_itself_in_its_first_line() -> None:
    declared = {name: each.text.splitlines()[0] for name, each in SCRIPTS.items()}
    assert declared == {name: f"#!lua {FLAGS.get(name, '')}".rstrip() for name in SCRIPTS}
    assert SCRIPTS


def test_a_script_has_its_name_and_its_format_behind_that_line() -> None:
    for name, each in SCRIPTS.items():
        assert each.text.splitlines()[1:3] == [f"-- {name}", f"local FORMAT = {FORMAT}"]


def test_a_script_has_of_the_prelude_what_it_uses_and_no_more() -> None:
    functions = {
        name: re.findall(r"^local function (\w+)", each.text, re.MULTILINE)
        for name, each in SCRIPTS.items()
    }
    assert functions["drop_from_index"] == ["now_ms", "tidy_index"]
    assert functions["scan_index"] == functions["count_attempt"] == []
    for name, defined in functions.items():
        for each in defined:
            assert len(re.findall(rf"\b{each}\(", SCRIPTS[name].text)) > 1


@pytest.mark.parametrize("name", [each for each in SCRIPTS if each not in FLAGS])
def test_a_script_that_needs_memory_is_refused_before_its_first_step(
    node: Server, link: RedisClient, name: str
) -> None:
    keys = [f"gateway:{{of-{name}}}:{number}" for number in range(2)]
    # Known by name already; so the only thing to refuse is its run.
    node.ask("SCRIPT", "LOAD", SCRIPTS[name].text)
    with out_of_memory(node):
        before = steps(node)
        with pytest.raises(StoreUnavailable) as refused:
            link.run(SCRIPTS[name], keys, ["1"] * 13)
        assert isinstance(refused.value.__cause__, OutOfMemoryError)
        assert steps(node) == before


@pytest.mark.parametrize("name", FLAGS)
def test_a_script_that_needs_no_memory_is_run_without(
    node: Server, link: RedisClient, name: str
) -> None:
    node.ask("SCRIPT", "LOAD", SCRIPTS[name].text)
    with out_of_memory(node):
        before = steps(node)
        link.run(SCRIPTS[name], [f"gateway:{{of-{name}}}"], ARGUMENTS[name])
        assert steps(node) != before
