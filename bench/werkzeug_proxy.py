"""werkzeug's ProxyMiddleware, to be measured: /files/ goes to BENCH_BACKEND, a URL."""

from __future__ import annotations

import os

from werkzeug.exceptions import NotFound
from werkzeug.middleware.http_proxy import ProxyMiddleware

app = ProxyMiddleware(NotFound(), {"/files/": {"target": os.environ["BENCH_BACKEND"]}})
