"""At DEBUG, oauthlib writes codes and tokens to its logs. The gateway lets none of it out."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Iterator

import pytest

from gateway.assembly import Core
from gateway.clients.registry import RegisteredClient
from gateway.protocol.oauthlib_logs import silence_oauthlib
from tests.support.stand import CLIENTS, Stand, asked, standing


class Kept(logging.Handler):
    """Keeps every record."""

    records: list[logging.LogRecord]

    def __init__(self) -> None:
        super().__init__()
        self.records = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of_oauthlib(self) -> str:
        """Return the texts of oauthlib's records."""
        of_oauthlib = [each for each in self.records if each.name.startswith("oauthlib")]
        return "\n".join(each.getMessage() for each in of_oauthlib)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with standing(tmp_path_factory.mktemp("store")) as stand:
        yield stand


@pytest.fixture
def kept() -> Iterator[Kept]:
    """A handler; afterwards, logging is as it was."""
    known = logging.root.manager.loggerDict.values()
    loggers = [logging.root, *(each for each in known if isinstance(each, logging.Logger))]
    before = [(each, {**vars(each), "handlers": each.handlers[:]}) for each in loggers]
    yield Kept()
    for logger, attributes in before:
        logger.setLevel(attributes["level"])
        vars(logger).update(attributes)
    silence_oauthlib()


def oauthlibs_loggers() -> list[str]:
    return [name for name in logging.root.manager.loggerDict if name.startswith("oauthlib")]


@pytest.fixture
def built(stand: Stand) -> Iterator[Core]:
    """A gateway, which silences oauthlib."""
    gateway = stand.gateway()
    yield gateway
    gateway.redis.close()


def exchange(gateway: Core) -> list[str]:
    """Let a user allow a request, redeem its code, and refresh; return what is secret in it."""
    server = gateway.authorization_server
    code, *_ = server.authorize(asked(gateway, CLIENTS[0]), "ann")
    registered = RegisteredClient(CLIENTS[0], "file")
    form = {"grant_type": "authorization_code", "redirect_uri": CLIENTS[0].redirect_uris[0]}
    given = server.exchange(registered, form | {"code": code.text})
    refresh = {"grant_type": "refresh_token", "refresh_token": given.refresh_token or ""}
    return [code.text, *refresh.values(), server.exchange(registered, refresh).access_token]


def debug(kept: Kept) -> None:
    """Have every logger pass all it has to the handler."""
    for name in (None, *oauthlibs_loggers()):
        logging.getLogger(name).setLevel(logging.DEBUG)
        logging.getLogger(name).addHandler(kept)


def assert_nothing_of_oauthlib(kept: Kept) -> None:
    logging.root.debug("this handler has everything")
    assert kept.records
    assert kept.of_oauthlib() == ""


def test_debugging_everything_shows_nothing_of_a_token_request(built: Core, kept: Kept) -> None:
    debug(kept)
    exchange(built)
    assert_nothing_of_oauthlib(kept)


@pytest.mark.parametrize("disable_existing", [True, False])
def test_nor_does_it_where_logging_is_configured_afterwards(
    built: Core, kept: Kept, *, disable_existing: bool
) -> None:
    everything = {"level": "DEBUG", "handlers": ["kept"], "propagate": True, "filters": []}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": disable_existing,
            "handlers": {"kept": {"()": lambda: kept}},
            "root": {"level": "DEBUG", "handlers": ["kept"]},
            "loggers": dict.fromkeys(oauthlibs_loggers(), everything),
        }
    )
    exchange(built)
    assert_nothing_of_oauthlib(kept)


def test_a_logger_of_oauthlib_that_comes_later_is_silenced_by_the_next_gateway(
    stand: Stand, kept: Kept
) -> None:
    later = logging.getLogger("oauthlib.of_this_test")
    stand.gateway().redis.close()
    debug(kept)
    later.debug("a token")
    assert_nothing_of_oauthlib(kept)


def test_without_the_silence_codes_and_tokens_are_there(built: Core, kept: Kept) -> None:
    """Or nothing would be said above."""
    debug(kept)
    for name in oauthlibs_loggers():
        logging.getLogger(name).filters.clear()
    secrets = exchange(built)
    assert all(secret in kept.of_oauthlib() for secret in secrets)
