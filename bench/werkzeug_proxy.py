"""werkzeug's ProxyMiddleware: it forwards /files/ to the URL in BENCH_BACKEND."""

from __future__ import annotations

import os

from werkzeug.exceptions import NotFound
from werkzeug.middleware.http_proxy import ProxyMiddleware

app = ProxyMiddleware(NotFound(), {"/files/": {"target": os.environ["BENCH_BACKEND"]}})
