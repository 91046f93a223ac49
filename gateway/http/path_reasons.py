"""Why a path is refused: the names that docs/audit.md lists."""

from __future__ import annotations

from enum import StrEnum


class PathReason(StrEnum):
    """Why the path of a request has no single meaning, or one that no honest client sends."""

    AMBIGUOUS_METHOD = "path_ambiguous_method"
    BACKSLASH = "path_backslash"
    CONTROL_CHARACTER = "path_control_character"
    DESTINATION = "path_destination"
    DIVIDED_BY_CLIENT = "path_divided_by_client"
    DOT_SEGMENT = "path_dot_segment"
    ESCAPED_TOO_OFTEN = "path_escaped_too_often"
    NOT_A_PATH = "path_not_a_path"
    NOT_ABSOLUTE = "path_not_absolute"
    OVERLONG_UTF_8 = "path_overlong_utf_8"
    OWN = "path_own"
    TOO_MANY_READINGS = "path_too_many_readings"
    UNICODE_ESCAPE = "path_unicode_escape"
