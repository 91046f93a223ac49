"""Secret keys: in the file, in a file of their own, or in the environment, but in no message."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.file import ConfigError, settings_from_toml
from tests.config.config_samples import CLIENT, ENVIRON, ISSUER, KEY, OTHER_KEY, faults, read


def test_a_list_of_secret_keys_keeps_its_order() -> None:
    written = f'secret_key = ["{KEY}", "{OTHER_KEY}"]\n{ISSUER}'
    assert read(written, environ={}).secret_keys == (KEY.encode(), OTHER_KEY.encode())


def test_the_environment_may_repeat_the_key_of_the_file() -> None:
    assert read(f'secret_key = "{KEY}"\n{ISSUER}').secret_keys == (KEY.encode(),)


def test_the_line_end_of_a_mounted_secret_is_not_part_of_it() -> None:
    assert read(ISSUER, environ={"GATEWAY_SECRET_KEY": f"{KEY}\n"}).secret_keys == (KEY.encode(),)


def test_a_secret_key_is_measured_in_bytes() -> None:
    assert faults(f'secret_key = "{"ü" * 16}"\n{ISSUER}', environ={}) == []


def test_a_secret_key_that_is_not_utf_8_is_taken_from_the_environment_as_it_is() -> None:
    raw = b"\xff" * 32
    environ = {"GATEWAY_SECRET_KEY": raw.decode("utf-8", "surrogateescape")}
    assert read(ISSUER, environ).secret_keys == (raw,)


def test_different_keys_in_file_and_environment_are_a_fault() -> None:
    written = f'secret_key = "{OTHER_KEY}"\n{ISSUER}'
    assert faults(written) == ["GATEWAY_SECRET_KEY: is not the key of the file; set one of the two"]


def test_a_secret_key_and_a_file_of_them_are_a_fault() -> None:
    written = f'secret_key = "{KEY}"\nsecret_key_file = "keys"\n{ISSUER}'
    assert faults(written, environ={}) == ["secret_key_file: must not be there beside secret_key"]


def key_file_faults(tmp_path: Path, content: bytes, mode: int = 0o600) -> list[str]:
    (tmp_path / "keys").write_bytes(content)
    (tmp_path / "keys").chmod(mode)
    try:
        settings_from_toml(f'secret_key_file = "keys"\n{ISSUER}', base=tmp_path, environ={})
    except ConfigError as error:
        return str(error).split("\n")
    return []


def test_a_secret_key_file_has_one_key_a_line_newest_first(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n\n  {OTHER_KEY}\r\n")
    (tmp_path / "keys").chmod(0o600)
    written = f'secret_key_file = "keys"\n{ISSUER}'
    settings = settings_from_toml(written, base=tmp_path, environ={})
    assert settings.secret_keys == (KEY.encode(), OTHER_KEY.encode())


@pytest.mark.parametrize(
    "text",
    [
        f'["{KEY}", "{OTHER_KEY}"]',
        f"{KEY},{OTHER_KEY}",
        f"{KEY}, {OTHER_KEY}",
        f"{KEY} {OTHER_KEY}",
        f"{KEY};{OTHER_KEY}",
        # A line end that nobody has read as one: `docker --env-file`, `Environment=` of systemd.
        f"{KEY}\\n{OTHER_KEY}",
    ],
)
def test_several_keys_that_are_no_lines_are_a_fault_wherever_they_stand(
    tmp_path: Path, text: str
) -> None:
    """One key of all of them would sign, and the old key would be gone."""
    why = "holds several keys; write one a line"
    [line] = faults(ISSUER, {"GATEWAY_SECRET_KEY": text})
    assert line.startswith(f"GATEWAY_SECRET_KEY: {why}")
    [line] = key_file_faults(tmp_path, text.encode())
    assert line.startswith(f"secret_key_file: #1 {why}")
    [line] = faults(f"secret_key = '{text}'\n{ISSUER}", environ={})
    assert line.startswith(f"secret_key: {why}")


@pytest.mark.parametrize("text", [f'"{KEY}"', f"'{KEY}'", f'["{KEY}"]'])
def test_quotation_marks_are_no_part_of_a_key(text: str) -> None:
    """Some tools take them away from a variable, and others do not."""
    assert faults(ISSUER, {"GATEWAY_SECRET_KEY": text}) == [
        "GATEWAY_SECRET_KEY: must have no quotation marks or brackets around it"
    ]


@pytest.mark.parametrize("text", [f"{KEY}\\n", f" {KEY}", f"{KEY}\\nshort"])
def test_a_key_that_a_variable_could_not_hold_is_a_fault(text: str) -> None:
    [line] = faults(f'secret_key = "{text}"\n{ISSUER}', environ={})
    assert line == "secret_key: must be one line, without spaces around it"


def test_a_sentence_is_a_key() -> None:
    sentence = "a secret key, with words in it; and it's long enough"
    assert read(ISSUER, {"GATEWAY_SECRET_KEY": sentence}).secret_keys == (sentence.encode(),)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_a_secret_key_file_that_is_open_to_everybody_is_a_fault(tmp_path: Path, mode: int) -> None:
    assert key_file_faults(tmp_path, KEY.encode(), mode) == [
        "secret_key_file: is open to every user of this machine; run `chmod o= FILE`"
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "has no key in it; run `gateway new-secret`"),
        (b"\n \n", "has no key in it; run `gateway new-secret`"),
        (b"\xff" * 32, "is not UTF-8"),
        (b"k" * 32 + b"\nshort", "#2 must have at least 32 bytes, not 5"),
    ],
)
def test_a_secret_key_file_without_good_keys_is_a_fault(
    tmp_path: Path, content: bytes, why: str
) -> None:
    [line] = key_file_faults(tmp_path, content)
    assert line.startswith(f"secret_key_file: {why}")


def test_a_secret_key_file_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="secret_key_file: cannot be read: No such file"):
        settings_from_toml(f'secret_key_file = "keys"\n{ISSUER}', base=tmp_path, environ={})


@pytest.mark.parametrize(
    ("written", "environ"),
    [
        ('secret_key = "hunter2"\n', {}),
        ('secret_key = ["hunter2", "hunter2"]\n', {}),
        ('secret_key = "hunter2\n', {}),
        ('secret_key = {hunter2 = "hunter2"}\n', {}),
        (f'secret_key = "{KEY}hunter2"\n', ENVIRON),
        ("", {"GATEWAY_SECRET_KEY": "hunter2"}),
        ("", {"GATEWAY_SECRET_KEY": "hunter2\udcff"}),
        (f"secret_sha256 = 'hunter2'\n{ISSUER}", ENVIRON),
        (f"{ISSUER}{CLIENT}secret_sha256 = 'hunter2'\n", ENVIRON),
        (f"{ISSUER}[[sign_in.users]]\nname = 'demo'\npassword_hash = 'hunter2'\n", ENVIRON),
        (f"{ISSUER}[store]\nurl = 'redis://me:hunter2@host:port'\n", ENVIRON),
        (f"{ISSUER}[store]\nurl = 'redis://hunter2@host'\n", ENVIRON),
        (f"{ISSUER}[upstream]\nurl = ['http://me:hunter2@host']\n", ENVIRON),
        (f"{ISSUER}[upstream]\nheaders = {{ Authorization = '\x7fhunter2' }}\n", ENVIRON),
        ("issuer = 'https://me:hunter2@host'\n", ENVIRON),
    ],
)
def test_no_message_has_a_secret_in_it(written: str, environ: dict[str, str]) -> None:
    lines = faults(written if "issuer" in written else written + ISSUER, environ)
    assert lines
    assert not [line for line in lines if "hunter2" in line]
