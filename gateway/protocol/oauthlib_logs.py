"""oauthlib's logs are silenced: at DEBUG they print codes and tokens."""

from __future__ import annotations

import logging


def _drop(record: logging.LogRecord) -> bool:
    return False


def silence_oauthlib() -> None:
    """Drop every record of every logger of oauthlib that there is.

    A filter of a logger sees only the records of that very logger, before any handler does, and
    stays when logging is configured later: levels, handlers, ``disabled`` and ``propagate`` do
    not. So each logger gets one. A module of oauthlib that is imported later makes a new logger:
    call this after the import.
    """
    for name in [*logging.root.manager.loggerDict]:
        if name == "oauthlib" or name.startswith("oauthlib."):
            logger = logging.getLogger(name)
            if _drop not in logger.filters:
                logger.addFilter(_drop)
