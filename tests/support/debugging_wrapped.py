"""The wrapped echo application, whose every logger writes all it can; the server's own apart."""

from __future__ import annotations

import logging

logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s")
logging.getLogger("test.support").debug("this log has everything")

from tests.support.wrapped import app  # noqa: E402 - the log begins before the gateway

__all__ = ["app"]
