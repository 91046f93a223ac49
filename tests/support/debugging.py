"""A standalone gateway whose every logger writes all it can, as somebody who debugs it would.

Run it with the path of a configuration file.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

    from gateway.config.file import load_config
    from gateway.server.standalone import StandaloneGateway

    application = StandaloneGateway(lambda: load_config(Path(sys.argv[1])))
    application.cfg.set("loglevel", "debug")
    application.cfg.set("accesslog", "-")
    logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("test.support").debug("this log has everything")
    application.run()
