"""The status for a request that the server could not parse; the request is never quoted.

gunicorn quotes the faulty line to the client, and in the log at its usual level. That line may
hold a code, a token or a password, so the server names only the kind of fault.
"""

from __future__ import annotations

from http import HTTPStatus

from gunicorn.http import errors

#: All Connection fields of one request together. Honest ones have less than a hundred.
CONNECTION_BYTES = 4096


class HeadTimeout(Exception):  # noqa: N818 - named as the field names it
    """The head of a request took too long to arrive."""


_STATUS: dict[type[BaseException], HTTPStatus] = {
    HeadTimeout: HTTPStatus.REQUEST_TIMEOUT,
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
    # The fault is the application's or the operator's, not the client's.
    errors.InvalidResponseHeader: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.InvalidResponseHeaderName: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ConfigurationProblem: HTTPStatus.INTERNAL_SERVER_ERROR,
}


#: The versions of HTTP that exist and are not spoken here. Another version is a malformed one.
_OTHER_VERSIONS = frozenset({(0, 9), (2, 0), (3, 0)})


def status_of(error: BaseException) -> HTTPStatus:
    """Return the status of the response: 4xx, 501 or 505 for a client's fault, else 500."""
    if isinstance(error, errors.InvalidHTTPVersion) and error.version in _OTHER_VERSIONS:
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    if type(error) in _STATUS:
        return _STATUS[type(error)]
    if isinstance(error, errors.ParseException):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.INTERNAL_SERVER_ERROR


def require_host(version: tuple[int, int], headers: list[tuple[str, str]]) -> None:
    """RFC 9112 §3.2: an HTTP/1.1 request without Host gets a 400, and its connection closes.

    gunicorn refuses a second Host, but not a missing one. Raises gunicorn's InvalidHeader.
    """
    if version >= (1, 1) and not any(name == "HOST" for name, _ in headers):
        raise errors.InvalidHeader("HOST")


def limit_connection(headers: list[tuple[str, str]]) -> None:
    """Refuse a request whose Connection options take longer to look up than all the rest of it.

    Raises gunicorn's LimitRequestHeaders.
    """
    if sum(len(value) for name, value in headers if name == "CONNECTION") > CONNECTION_BYTES:
        raise errors.LimitRequestHeaders("Connection has too many options")
