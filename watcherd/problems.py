"""The catalogue of problem types (RFC 9457) and the exception that becomes a problem body.

Every type has a path, `/problems/{slug}`, that the daemon answers itself with the explanation
kept here. A problem is raised where it is found and becomes an answer in one place, at the edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from watcherd.errors import WatcherdError


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem: its slug, HTTP status, title, and what a client can do about it."""

    slug: str
    status: int
    title: str
    explanation: str

    @property
    def path(self) -> str:
        """The `type` member of the body."""
        return f"/problems/{self.slug}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One entry of `errors`: a JSON pointer into the body (or a parameter name), code, message."""

    pointer: str
    code: str
    message: str

    def as_json(self) -> dict[str, str]:
        """The entry as it stands in the body."""
        return {"pointer": self.pointer, "code": self.code, "message": self.message}


class Problem(WatcherdError):  # noqa: N818 - the field's term (RFC 9457) is "problem", not "problem error"
    """A request cannot be served, and this is what its client is told.

    `extra` are further members of the body; `headers` go with the answer, lower-case names.
    """

    def __init__(
        self,
        type_: ProblemType,
        detail: str,
        *,
        errors: Sequence[Finding] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = type_
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def body(self, *, instance: str, request_id: str) -> dict[str, Any]:
        """The members of the problem body, in the order that people read them."""
        members: dict[str, Any] = {
            "type": self.type.path,
            "title": self.type.title,
            "status": self.type.status,
            "detail": self.detail,
            "instance": instance,
            "request_id": request_id,
        }
        if self.errors:
            members["errors"] = [finding.as_json() for finding in self.errors]
        return members | self.extra


MALFORMED_JSON = ProblemType(
    "malformed-json", 400, "Malformed JSON", "The body is not JSON. The detail says where reading stopped."
)
INVALID_QUERY = ProblemType(
    "invalid-query",
    400,
    "Invalid query",
    "A query parameter is unknown or its value is not valid. The detail names it and lists what exists.",
)
BAD_REQUEST = ProblemType("bad-request", 400, "Bad request", "The request cannot be understood as it was sent.")
UNAUTHORIZED = ProblemType("unauthorized", 401, "Not authenticated", "Send the token as `Authorization: Bearer ...`.")
FORBIDDEN = ProblemType(
    "forbidden",
    403,
    "Forbidden",
    "The admin API without a token serves loopback peers that name a loopback host, and nobody else. "
    "Set WATCHERD_ADMIN_TOKEN and send it as a bearer token.",
)
NOT_PERMITTED = ProblemType(
    "not-permitted", 403, "Not permitted", "The API key is known, but not for this model or not for writing to it."
)
OUTSIDE_DIRECTORY = ProblemType(
    "outside-directory", 403, "Outside the models directory", "Only files inside the models directory are loaded."
)
NO_SUCH_PATH = ProblemType("no-such-path", 404, "No such path", "Nothing is served at this path.")
NO_SUCH_MODEL = ProblemType(
    "no-such-model", 404, "No such model", "No model of this name is served. `GET /admin/pim` lists those that are."
)
MODEL_REJECTED = ProblemType(
    "model-rejected",
    404,
    "Model rejected",
    "A file of this model exists, but it has errors and no good revision of it has ever been served. "
    "`GET /admin/pim` and `watcherd check` show the errors.",
)
NO_SUCH_ENTITY = ProblemType(
    "no-such-entity", 404, "No such entity or service", "The model is served, but has nothing of this name."
)
NO_SUCH_ROW = ProblemType("no-such-row", 404, "No such row", "No row has this key.")
NO_SUCH_FILE = ProblemType("no-such-file", 404, "No such file", "The models directory has no model file at this path.")
METHOD_NOT_ALLOWED = ProblemType(
    "method-not-allowed", 405, "Method not allowed", "The `Allow` header lists the methods of this path."
)
UNIQUE = ProblemType("unique", 409, "Unique constraint violated", "Another row already has this value.")
FOREIGN_KEY = ProblemType(
    "foreign-key",
    409,
    "Foreign key violated",
    "The row refers to a row that does not exist, or other rows still refer to it.",
)
CHECK = ProblemType("check", 409, "Constraint violated", "The write would break a constraint of the model.")
STATE = ProblemType(
    "state",
    409,
    "Not in this state",
    "The row is in a state from which this is not allowed. `errors` says in which; methods of the model change states.",
)
ALREADY_LIVE = ProblemType("already-live", 409, "Already live", "The model is already served from this file.")
IN_USE = ProblemType(
    "in-use", 409, "In use", "Other live models refer to this one. `?force=true` takes it out of service all the same."
)
REQUEST_TIMEOUT = ProblemType(
    "request-timeout", 408, "Request timeout", "The request stood still before it was complete. Send it again."
)
CONTENDED = ProblemType(
    "contended",
    409,
    "Changed by others",
    "Others changed the same rows at the same time, again and again. Nothing was written. Send the request again.",
)
REFUSED = ProblemType(
    "refused", 409, "Refused by the model", "What the model does in this method refused it; `code` says why."
)
STILL_RUNNING = ProblemType(
    "still-running",
    409,
    "Still running",
    "A request with the same `Idempotency-Key` has not been answered yet. Send it again after `Retry-After` seconds.",
)
PRECONDITION_FAILED = ProblemType(
    "precondition-failed", 412, "Precondition failed", "The row has changed since its ETag was read. Read it again."
)
BODY_TOO_LARGE = ProblemType("body-too-large", 413, "Body too large", "The body is over the limit of this server.")
URI_TOO_LONG = ProblemType("uri-too-long", 414, "Address too long", "The path and the query are over the limit.")
UNSUPPORTED_MEDIA_TYPE = ProblemType(
    "unsupported-media-type", 415, "Unsupported media type", "Send the body as one of the content types in the detail."
)
VALIDATION = ProblemType("validation", 422, "Validation failed", "`errors` lists every finding with its place.")
KEY_REUSED = ProblemType(
    "key-reused",
    422,
    "Idempotency key reused",
    "The `Idempotency-Key` belongs to a request with another body. A new request needs a new key.",
)
IMPORT_REFUSED = ProblemType(
    "import-refused",
    422,
    "Import refused",
    "`refused` lists lines that are not valid, each with its number and its errors; `refused_count` counts them all. "
    "Nothing was imported. `?partial=true` imports the others.",
)
NO_SUCH_REVISION = ProblemType(
    "no-such-revision",
    404,
    "No such revision",
    "The revision was never served, or is no longer kept. `GET /admin/pim/{name}/revisions` lists those that are.",
)
ROLLBACK_REFUSED = ProblemType(
    "rollback-refused",
    409,
    "Rollback refused",
    "The revision cannot serve now: stored rows or other models stand in its way, or it serves already. "
    "`diagnostics` lists what, with line and column of the kept source.",
)
INVALID_MODEL = ProblemType(
    "invalid-model", 422, "Invalid model", "The file has errors; `diagnostics` lists them with line and column."
)
HEADERS_TOO_LARGE = ProblemType(
    "headers-too-large", 431, "Headers too large", "The headers are over the limit of this server: send fewer cookies."
)
INTERNAL = ProblemType(
    "internal", 500, "Internal error", "The server failed. Its log has a line with the request id of this answer."
)
NOT_IMPLEMENTED = ProblemType(
    "not-implemented",
    501,
    "Not implemented",
    "The method is declared, but nothing executable stands behind it. `lacks` lists what is missing.",
)
NOT_OFFERED = ProblemType(
    "not-offered",
    501,
    "Not offered by this server",
    "Bodies are read as they are or `chunked`, and nothing is passed on to other servers. "
    "The detail says what was asked for.",
)
HTTP_VERSION = ProblemType("http-version", 505, "Another version of HTTP", "HTTP/1.1 and HTTP/1.0 are spoken here.")
METHOD_TIMEOUT = ProblemType(
    "method-timeout",
    503,
    "The method took too long",
    "What stands behind the method did not end in its time. Nothing was written.",
)
UNAVAILABLE = ProblemType(
    "unavailable", 503, "Unavailable", "The server cannot answer just now. Try again after `Retry-After` seconds."
)

CATALOGUE: Mapping[str, ProblemType] = {
    item.slug: item for item in list(globals().values()) if isinstance(item, ProblemType)
}


def no_such_model(model: str) -> Problem:
    """Nothing is known of a model that is not served."""
    return Problem(NO_SUCH_MODEL, f"no model named {model} is served")


def model_rejected(model: str) -> Problem:
    """A model is not served since its file has errors, and nothing good of it was served before."""
    return Problem(MODEL_REJECTED, f"{model} has errors: see GET /admin/pim/{model}, or run watcherd check")
