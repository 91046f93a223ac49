"""The sample backend: a small JSON API that knows nothing about OAuth.

It believes the headers that name the user, as every backend behind the gateway can.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.wrappers import Request, Response

from gateway.demo.addresses import Addresses
from gateway.demo.pages import Pages

_PROJECTS = {
    project["name"]: project
    for project in (
        {"name": "PROJ-0001", "project_name": "Harbour bridge", "status": "Open"},
        {"name": "PROJ-0002", "project_name": "Town library", "status": "Open"},
        {"name": "PROJ-0003", "project_name": "Old mill", "status": "Completed"},
    )
}
_COLLECTION = "/api/resource/Project"


class SampleBackend:
    """The backend as a WSGI application."""

    def __init__(self, addresses: Addresses, pages: Pages) -> None:
        self._addresses = addresses
        self._pages = pages

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        return self._respond(Request(environ))(environ, start_response)

    def _respond(self, request: Request) -> Response:
        path = request.path
        if request.method not in {"GET", "HEAD"}:
            return _json({"error": "only GET here"}, 405)
        if path == "/":
            return self._pages.response("backend.html", addresses=self._addresses)
        if path == _COLLECTION:
            return _json({"data": list(_PROJECTS.values())})
        if path in {"/api/whoami", "/public/headers"}:
            return _json(
                {
                    "user": request.headers.get("X-Forwarded-User"),
                    "client": request.headers.get("X-Forwarded-Client"),
                    "scope": request.headers.get("X-Forwarded-Scope"),
                    "headers": dict(request.headers),
                }
            )
        project = _PROJECTS.get(path.removeprefix(_COLLECTION + "/"))
        if project is not None:
            return _json({"data": project})
        return _json({"error": "there is nothing here"}, 404)


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value, indent=2) + "\n", status, mimetype="application/json")
