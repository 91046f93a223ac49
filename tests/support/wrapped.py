"""The echo application wrapped in a gateway, for a WSGI server that the tests start."""

from __future__ import annotations

import os

from gateway import OAuthGateway, load_config
from tests.support.echo import echo_app

app = OAuthGateway(echo_app, load_config(os.environ["GATEWAY_CONFIG"]))
