"""All close codes and HTTP error statuses of the server, with their reasons. Pure.

`docs/protocol.md` lists the same; a test compares them.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

MAX_REASON: Final = 123
"""Maximum bytes of a close frame's reason (RFC 6455, section 5.5)."""

MAX_CONTROL: Final = 125
"""Maximum bytes of a control frame's payload (RFC 6455, section 5.5)."""

_RESERVED: Final = frozenset({1004, 1005, 1006, 1015})


class CloseReason(Struct, frozen=True):
    """A close code and its reason."""

    code: int
    reason: str
    note: str = ""
    """For the log, beside what the client is told."""

    def because(self, detail: str) -> CloseReason:
        """Append a detail to the reason, truncated to `MAX_REASON`."""
        text = f"{self.reason}: {detail}".encode()[:MAX_REASON]
        return CloseReason(self.code, text.decode(errors="ignore"), self.note)

    def noting(self, note: str) -> CloseReason:
        """Note a detail for the log."""
        return CloseReason(self.code, self.reason, note)


class Refusal(Struct, frozen=True):
    """An HTTP error status and the text of its body."""

    status: int
    reason: str
    retry_after: int | None = None
    """Seconds after which the client may try again (`Retry-After`), where that is known."""

    def because(self, detail: str) -> Refusal:
        """Append a detail to the reason."""
        return Refusal(self.status, f"{self.reason}: {detail}", self.retry_after)


def is_sendable_code(code: int) -> bool:
    """Whether an endpoint may send this close code (RFC 6455, section 7.4)."""
    return (1000 <= code <= 1014 and code not in _RESERVED) or 3000 <= code <= 4999


# Open channels.
NORMAL: Final = CloseReason(1000, "closed by the process")
GOING_AWAY: Final = CloseReason(1001, "the node is shutting down")
RESTARTING: Final = CloseReason(1012, "the node restarts: connect again")
DRAINED: Final = CloseReason(1012, "the node is being drained: connect again")
UNBOUND: Final = CloseReason(1001, "the path is no longer bound")
PROTOCOL_ERROR: Final = CloseReason(1002, "protocol error")
CONTROL_TOO_LONG: Final = CloseReason(1002, "control frame too long")
TOO_LONG_A_LENGTH: Final = PROTOCOL_ERROR.because("a length is not in its shortest form")
NOT_UTF8: Final = CloseReason(1007, "a text message is not UTF-8")
REASON_NOT_UTF8: Final = CloseReason(1007, "the reason of a close frame is not UTF-8")
TOO_BIG: Final = CloseReason(1009, "message too big")
TOO_MANY_FRAGMENTS: Final = CloseReason(1009, "message has too many fragments")
PROCESS_GONE: Final = CloseReason(1011, "the process ended")
NO_PONG: Final = CloseReason(1011, "no pong within the deadline")
TOKEN_REVOKED: Final = CloseReason(1008, "the token was revoked")
NODE_LOST: Final = CloseReason(1014, "the process's node cannot be reached: connect again")
BAD_NODE: Final = CloseReason(1014, "the process's node sent what it may not")
TOO_SLOW: Final = CloseReason(1013, "the client reads too slowly")
CROWDED: Final = CloseReason(1013, "the node holds as many unfinished messages as it may")
BAD_CIPHERTEXT: Final = CloseReason(1008, "not encrypted as agreed")
SECRET_USED_UP: Final = CloseReason(1008, "the secret is used up: open a new channel")

# Register form, before a channel is open.
REGISTER_TOO_BIG: Final = CloseReason(1009, "register message too big")
NOT_A_REGISTER: Final = CloseReason(4000, "the first message is not a register message")
REGISTER_LATE: Final = CloseReason(4001, "no register message within the deadline")
BAD_TOKEN: Final = CloseReason(4002, "auth_token is not valid on this node")
BAD_PROCESS_ID: Final = CloseReason(4003, "target_process is not a process id")
NO_SUCH_PROCESS: Final = CloseReason(4004, "no such process")
CROWDED_HOME: Final = CloseReason(1013, "the process's node has as many channels as it takes from this one")
CROWDED_MAILBOX: Final = CloseReason(
    1013, "the process's node holds as many messages as it takes from this one"
)
TOO_MANY_CHANNELS: Final = CloseReason(4005, "the token has as many channels open as it may")
REGISTER_OFF: Final = CloseReason(4006, "the register form is turned off on this node")
NO_KEY: Final = CloseReason(4007, "no public key within the deadline")
NODE_STARTS: Final = CloseReason(1013, "the node is starting: connect again")
NOT_LISTED: Final = CloseReason(1013, "another node has not said yet what it runs: connect again")
NO_NEW_CHANNEL: Final = CloseReason(1013, "the node is being drained: try another, or later")

# Resumable channels.
NO_SUCH_SESSION: Final = CloseReason(4008, "no such session: open a new channel")
BAD_CONTROL: Final = CloseReason(4009, "not a control message that may come here")
BAD_COUNT: Final = CloseReason(4010, "a count of messages that cannot be")
TAKEN_OVER: Final = CloseReason(4011, "another socket took over the session")
TOO_MANY_RESUMES: Final = CloseReason(4012, "too many failed resumes from this address: wait, then try again")

AWAY_CODE: Final = 4100
"""A client that closes with it keeps its session, and will resume it."""

# Upgrade and HTTP requests.
BAD_REQUEST: Final = Refusal(400, "not a valid HTTP request")
NOT_AUTHORISED: Final = Refusal(401, "log in first, at /login")
WRONG_ORIGIN: Final = Refusal(403, "a page of another origin may not use this node's login")
LOCAL_ONLY: Final = Refusal(403, "only clients on the node's own machine may ask for this")
NO_LOCAL_SECRET: Final = Refusal(403, "show the secret of the node's home: no login does for this")
WRONG_SUBDOMAIN: Final = Refusal(403, "this host is not the one on which that is served")
NO_SERVICE_WORKER: Final = Refusal(403, "a page that shares its origin with others has no service worker")
SERVICE_WORKER_OFF: Final = Refusal(
    403, "no service worker may be here: the node's operator names its package in http.service_workers"
)
WRONG_TOKEN: Final = Refusal(403, "the login is for another process")
TOKEN_FULL: Final = Refusal(403, "the login has as many channels open as it may")
NOT_FOUND: Final = Refusal(404, "nothing is bound to this path")
NO_CHANNEL: Final = Refusal(404, "no channel of that id waits for a key from here")
METHOD_NOT_ALLOWED: Final = Refusal(405, "this path does not take that method")
REQUEST_LATE: Final = Refusal(408, "the request did not arrive within the deadline")
NO_ANSWER: Final = Refusal(408, "the process did not answer within the deadline")
BODY_TOO_BIG: Final = Refusal(413, "the request body is too big")
NOT_JSON: Final = Refusal(415, "the body must be sent as application/json")
PATH_TOO_LONG: Final = Refusal(414, "the path is too long")
TOO_MANY_FROM_ADDRESS: Final = Refusal(429, "this address has as many connections as it may hold")
TOO_MANY_LOGINS: Final = Refusal(429, "too many failed logins from this address: wait, then try again")
MISDIRECTED: Final = Refusal(421, "this node does not answer for that host: name it in http.hosts")
HEADERS_TOO_BIG: Final = Refusal(431, "the request's headers are too big")
BAD_ANSWER: Final = Refusal(500, "the process gave an answer that HTTP does not allow")
TOO_BIG_A_FILE: Final = Refusal(502, "the file is too big for a node that is not its own: ask its own node")
NODE_AWAY: Final = Refusal(503, "the process's node cannot be reached: try again")
NODE_ERROR: Final = Refusal(500, "the node failed to answer; its log says why")
TOO_MANY: Final = Refusal(503, "the node has as many connections as it may hold")
MAILBOX_FULL: Final = Refusal(503, "the process has too much to do: try again")
BODIES_FULL: Final = Refusal(503, "the node holds as many request bodies as it may: try again")
ENDED: Final = Refusal(503, "the process ended before it answered")
LOGOUT_NOT_STORED: Final = Refusal(
    503, "you are logged out until the node restarts: its disk did not take it, and the node tries again"
)
STARTING: Final = Refusal(503, "the node is starting: try again", retry_after=5)
UNLISTED: Final = Refusal(503, "another node has not said yet what it runs: try again", retry_after=5)
STOPPING: Final = Refusal(503, "the node is shutting down")
DRAINING: Final = Refusal(503, "the node is being drained: try another, or later", retry_after=5)
