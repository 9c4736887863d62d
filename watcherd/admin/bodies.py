"""What bodies the management API takes."""

from __future__ import annotations

from fastapi import Request

from watcherd import problems
from watcherd.problems import Problem

JSON = "application/json"


def json_alone(request: Request) -> None:
    """Refuse a body of another type: 415, where it would else be told of as a malformed one."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_empty = request.headers.get("content-length", "") == "0"
    if media and not is_empty and media != JSON and not media.endswith("+json"):
        raise Problem(problems.UNSUPPORTED_MEDIA_TYPE, f"the body is {media}: send {JSON}")
