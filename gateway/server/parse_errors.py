"""The status for a request that the server could not parse; the request is never quoted.

gunicorn quotes the faulty line to the client, and in the log at its usual level. That line may
hold a code, a token or a password, so the server names only the kind of fault.
"""

from __future__ import annotations

from http import HTTPStatus

from gunicorn.http import errors

_STATUS: dict[type[errors.ParseException], HTTPStatus] = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    # The fault is the application's or the operator's, not the client's.
    errors.InvalidResponseHeader: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidResponseHeaderName: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ConfigurationProblem: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def status_of(error: BaseException) -> HTTPStatus:
    """Return the status of the response: 4xx or 501 for a client's fault, 500 for any other."""
    if not isinstance(error, errors.ParseException):
        return HTTPStatus.INTERNAL_SERVER_ERROR
    return _STATUS.get(type(error), HTTPStatus.BAD_REQUEST)


def require_host(version: tuple[int, int], headers: list[tuple[str, str]]) -> None:
    """RFC 9112 §3.2: an HTTP/1.1 request without Host gets a 400, and its connection closes.

    gunicorn refuses a second Host, but not a missing one. Raises gunicorn's InvalidHeader.
    """
    if version >= (1, 1) and not any(name == "HOST" for name, _ in headers):
        raise errors.InvalidHeader("HOST")
