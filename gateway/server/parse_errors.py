"""What the server could not parse: its status, and no word of it repeated.

gunicorn quotes the faulty line to the client and in the log, at its usual level. That line may
hold a code, a token or a password, so here only the kind of fault is named.
"""

from __future__ import annotations

from http import HTTPStatus

from gunicorn.http import errors

_STATUS: dict[type[errors.ParseException], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    # The fault of the application behind the server, or of whoever set the server up.
    errors.InvalidResponseHeader: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidResponseHeaderName: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ConfigurationProblem: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def status_of(error: BaseException) -> HTTPStatus:
    """Return the status that answers an error: a client's fault (4xx, 501), or 500."""
    if not isinstance(error, errors.ParseException):
        return HTTPStatus.INTERNAL_SERVER_ERROR
    return _STATUS.get(type(error), HTTPStatus.BAD_REQUEST)


def require_host(version: tuple[int, int], headers: list[tuple[str, str]]) -> None:
    """RFC 9112 §3.2: a request of HTTP/1.1 without Host is a 400; its connection ends as well.

    gunicorn refuses a second one, but not that there is none. Raises its InvalidHeader.
    """
    if version >= (1, 1) and not any(name == "HOST" for name, _ in headers):
        raise errors.InvalidHeader("HOST")
