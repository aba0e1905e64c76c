"""Errors of the API as problem details (RFC 9457). Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from msgspec.json import encode
from starlette.responses import Response

from guesthouse.http_server.close_codes import Refusal

PROBLEM_TYPE: Final = "application/problem+json"
HEADERS: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer."""
_URN: Final = "urn:guesthouse:problem:"


class ProblemKind(Struct, frozen=True):
    """A kind of error: its HTTP status, name and title."""

    status: int
    code: str
    title: str


class Problem(Struct, frozen=True):
    """A problem (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    """The last part of `type`, for programs."""
    detail: str | None = None


class ApiProblem(Exception):
    """The request is answered with a problem.

    Args:
        kind: which one.
        detail: what is wrong with this request.
        retry_after: seconds.
        allow: the methods that the path takes.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str | None = None,
        *,
        retry_after: int | None = None,
        allow: str | None = None,
    ) -> None:
        super().__init__(kind.title)
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after
        self.allow = allow


INVALID: Final = ProblemKind(400, "invalid-request", "The request is not valid")
NO_KEY: Final = ProblemKind(401, "no-key", "Send a valid API key as `Authorization: Bearer`")
FROM_BROWSER: Final = ProblemKind(403, "from-a-page", "Pages in browsers may not use this API")
ROLE_TOO_LOW: Final = ProblemKind(403, "role-too-low", "The role of this key does not allow it")
OTHER_PROCESS: Final = ProblemKind(403, "other-process", "This key is for another process")
NO_OPERATION: Final = ProblemKind(404, "no-such-operation", "This API has nothing at this path")
NO_PROCESS: Final = ProblemKind(404, "no-such-process", "The node has no such process")
NO_CHANNEL: Final = ProblemKind(404, "no-such-channel", "There is no such channel")
NO_TOKEN: Final = ProblemKind(404, "no-such-token", "There is no such token, or it ended")
CHANNEL_FULL: Final = ProblemKind(409, "channel-full", "The client of the channel reads too slowly")
NOT_STARTED: Final = ProblemKind(409, "not-started", "The process could not be started or stopped")
MESSAGE_TOO_BIG: Final = ProblemKind(413, "message-too-big", "The message is larger than a client may get")
WRONG_METHOD: Final = ProblemKind(405, "wrong-method", "This path does not take that method")
NOT_JSON: Final = ProblemKind(415, "not-json", "The body must be sent as application/json")
MISDIRECTED: Final = ProblemKind(421, "misdirected", "The node does not answer for that host")
TOO_MANY_FAILURES: Final = ProblemKind(429, "too-many-failures", "Too many keys of this address were refused")
NODE_ERROR: Final = ProblemKind(500, "node-error", "The node failed to answer; its log says why")
NOT_STORED: Final = ProblemKind(
    503,
    "not-stored",
    "It is revoked until the node restarts: its disk did not take it, and the node tries again",
)
STOPPING: Final = ProblemKind(503, "stopping", "The node is shutting down")
_READING: Final = {
    400: "bad-http",
    408: "request-late",
    413: "body-too-big",
    503: "bodies-full",
}
"""Names of what can be wrong with how a body arrives, by status."""


def of_refusal(refusal: Refusal, detail: str | None = None) -> ApiProblem:
    """A refusal of the HTTP server, met while a body was read."""
    kind = ProblemKind(refusal.status, _READING.get(refusal.status, "refused"), refusal.reason)
    return ApiProblem(kind, detail)


def as_response(problem: ApiProblem) -> Response:
    """The answer."""
    kind = problem.kind
    body = encode(Problem(_URN + kind.code, kind.title, kind.status, kind.code, problem.detail))
    headers = dict(HEADERS)
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    if problem.allow is not None:
        headers["Allow"] = problem.allow
    if kind is NO_KEY:
        headers["WWW-Authenticate"] = 'Bearer realm="guesthouse-api"'
    return Response(body, kind.status, headers, media_type=PROBLEM_TYPE)
