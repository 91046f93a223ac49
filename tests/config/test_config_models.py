"""The models of the settings, made in Python: validated, frozen, and silent about secrets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.config.settings import (
    Client,
    Route,
    Server,
    Settings,
    SignIn,
    Store,
    Tokens,
    Upstream,
    User,
)
from tests.config.config_samples import KEY, USER_HASH

URL = "redis://me:hunter2@store/0"
SECRET = "5ec7e7" + "0" * 58


def settings() -> Settings:
    """Return settings that hold every secret that there is."""
    return Settings(
        issuer="https://gateway.example",
        secret_keys=(KEY.encode(),),
        store=Store(url=URL, sentinel_password="hunter2"),
        upstream=Upstream(headers={"Authorization": "Bearer hunter2"}),
        clients=(Client(client_id="a", name="A", secret_sha256=SECRET),),
        sign_in=SignIn(users=(User(name="demo", password_hash=USER_HASH),)),
    )


@pytest.mark.parametrize("show", [repr, str, lambda table: repr((table,))])
def test_no_secret_is_shown(show: Callable[[object], str]) -> None:
    shown = show(settings())
    for secret in ("hunter2", KEY, SECRET, USER_HASH):
        assert secret not in shown
    # What is no secret is shown, or nobody could read a traceback.
    assert "redis://me:(hidden)@store/0" in shown
    assert "Authorization" in shown


def test_what_pydantic_says_itself_does_not_show_the_value() -> None:
    with pytest.raises(ValidationError) as raised:
        Store(url="redis://hunter2@store")
    assert "hunter2" not in str(raised.value)
    assert "user:password@" in str(raised.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Server(workers=True),
        lambda: Server.model_validate({"workers": "2"}),
        lambda: Tokens(access_seconds=0),
        lambda: Route(path="no slash"),
        lambda: Upstream(urls=()),
        lambda: Store.model_validate({"urll": "embedded"}),
    ],
)
def test_settings_made_in_python_obey_the_same_rules(make: Callable[[], object]) -> None:
    with pytest.raises(ValidationError):
        make()


def test_settings_are_equal_by_value_and_can_be_hashed_where_nothing_in_them_is_a_mapping() -> None:
    assert settings() == settings()
    assert settings() != settings().model_copy(update={"issuer": "https://other.example"})
    assert len({Store(url=URL), Store(url=URL), Store()}) == 2
    assert len({*settings().clients, Client(client_id="a", name="A", secret_sha256=SECRET)}) == 1


def test_nothing_in_settings_can_be_changed() -> None:
    made = settings()
    with pytest.raises(ValidationError):
        made.issuer = "https://evil.example"  # type: ignore[misc]  # that is the point
    with pytest.raises(ValidationError):
        made.store.url = "redis://evil"  # type: ignore[misc]  # the same
    with pytest.raises(TypeError):
        made.upstream.headers["X"] = "y"  # type: ignore[index]  # the same
    routes = Settings(
        issuer="https://gateway.example",
        secret_keys=(KEY.encode(),),
        routes=[Route(path="/a")],  # type: ignore[arg-type]  # a list becomes a tuple
    ).routes
    assert routes == (Route(path="/a"),)


def test_a_path_given_in_python_stays_as_it_is() -> None:
    assert Store(data_dir=Path("data")).data_dir == Path("data")
    assert Store().data_dir == Path("gateway-data")
