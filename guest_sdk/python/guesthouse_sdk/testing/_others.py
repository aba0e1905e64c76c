"""Whom the process of a fake host can ask: other processes, the HTTP server, and the runtime modules of the node."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from guesthouse_sdk._native import types
from guesthouse_sdk._native.types import SendErrorKind
from guesthouse_sdk.address import HTTP_SERVER, Address, ProcessId, address_from_wit, address_to_wit
from guesthouse_sdk.capabilities import Capability, capabilities_to_wit
from guesthouse_sdk.message import blob_from_wit, optional_blob_to_wit
from guesthouse_sdk.testing._exchanges import SentRequest
from guesthouse_sdk.testing._kv import FakeKv
from guesthouse_sdk.testing._limits import FakeLimits
from guesthouse_sdk.testing._passwords import FakePasswords
from guesthouse_sdk.testing._rights import FakeRights
from guesthouse_sdk.testing._timer import FakeTimers
from guesthouse_sdk.testing._vfs import FakeVfs

if TYPE_CHECKING:
    from guesthouse_sdk.testing._host import Handler

Outcome = tuple[types.IncomingResponse, types.LazyLoadBlob | None] | types.SendError
"""What comes of a request: a response with its blob, or an error."""

_KV, _PASSWORDS, _TIMER, _VFS = (
    ProcessId(name, "distro", "sys") for name in ("kv", "passwords", "timer", "vfs")
)
_MODULES: Final = frozenset((_KV, _PASSWORDS, _TIMER, _VFS))


class FakeOthers(FakeRights):
    """Requests of the process, and what they come to.

    Attributes:
        sent: the requests that the process sent.
        package_files: what came with the package, by path, which is in the drive `pkg`.
    """

    def __init__(self, our: Address, limits: FakeLimits) -> None:
        super().__init__(our, limits.state_bytes)
        self.our_address = our
        self.limits = limits
        self.sent: list[SentRequest] = []
        self.others: dict[ProcessId, Handler] = {}
        self.private: set[ProcessId] = set()
        self.package_files: dict[str, bytes] = {}
        self.timers = FakeTimers(self._ring)
        package = f"{our.process.package_name}:{our.process.publisher_node}"
        self._kv = FakeKv(package, limits.kv_bytes, lambda: self.now)
        self._passwords = FakePasswords()
        self._vfs = FakeVfs(package, limits.drive_bytes, self.package_files)

    @property
    def now(self) -> float:
        """Seconds that passed in this host."""
        return self.timers.now

    def grant(self, *capabilities: str | Capability) -> None:
        """Give the process what a manifest would request: `"kv:distro:sys"` is the right to use that module or
        process of this node.
        """
        for each in capabilities:
            messaging = f"{self.our_address.node}@{each}" if isinstance(each, str) else None
            self.held.add(each if messaging is None else Capability.messaging(messaging))  # type: ignore[arg-type]

    def post_request(self, source: Address, body: bytes) -> None:
        """Put a request that expects no response into the mailbox."""
        raise NotImplementedError

    def answer_http_server(self, body: bytes, blob: types.LazyLoadBlob | None) -> bytes:
        """What the HTTP server says to a request in JSON."""
        raise NotImplementedError

    def ask(
        self,
        raw_target: types.Address,
        request: types.Request,
        context: bytes | None,
        blob: types.LazyLoadBlob | None,
        done: Callable[[Outcome], None],
    ) -> None:
        """Send a request of the process. `done` is called once, now or when a timer is due, if it comes to
        anything.
        """
        target = address_from_wit(raw_target)
        sent = SentRequest(
            target,
            request.body,
            blob_from_wit(blob),
            request.expects_response,
            context,
            request.metadata,
            request.inherit,
            self.handed_on(request.capabilities),
        )
        self.sent.append(sent)

        def fail(kind: SendErrorKind, lacking: types.Capability | None = None) -> None:
            done(types.SendError(kind, raw_target, request, blob, lacking))

        def answer(body: bytes, content: bytes | None = None) -> None:
            response = types.Response(False, body, None, [])
            given = None if content is None else types.LazyLoadBlob(None, content)
            done((types.IncomingResponse(raw_target, response, context), given))

        lacking = self._lacking(target)
        if lacking is not None:
            fail(SendErrorKind.NOT_AUTHORISED, lacking)
        elif target.node != self.our_address.node:
            fail(SendErrorKind.OFFLINE)
        elif target.process == HTTP_SERVER:
            answer(self.answer_http_server(request.body, blob))
        elif target.process in self.others:
            self._ask_process(sent, raw_target, fail, done)
        elif target.process == _TIMER:
            self.timers.carry_out(request.body, request.expects_response, answer)
        elif target.process == _PASSWORDS:
            answer(self._passwords.carry_out(request.body))
        elif target.process in _MODULES:
            module = self._kv if target.process == _KV else self._vfs
            answer(*module.carry_out(request.body, None if blob is None else blob.bytes))
        else:
            fail(SendErrorKind.NO_SUCH_PROCESS)

    def _ask_process(
        self,
        sent: SentRequest,
        raw_target: types.Address,
        fail: Callable[[SendErrorKind], None],
        done: Callable[[Outcome], None],
    ) -> None:
        answer = self.others[sent.target.process](sent)
        if answer is None and sent.expects_response is not None:
            self.timers.call_later(sent.expects_response, lambda: fail(SendErrorKind.TIMEOUT))
            return
        if answer is None:
            empty = types.Response(False, b"", None, [])
            done((types.IncomingResponse(raw_target, empty, sent.context), None))
            return
        rights = capabilities_to_wit(answer.capabilities)
        self.receive_capabilities(rights)
        response = types.Response(False, answer.body, answer.metadata, rights)
        done((types.IncomingResponse(raw_target, response, sent.context), optional_blob_to_wit(answer.blob)))

    def _lacking(self, target: Address) -> types.Capability | None:
        """What the process lacks to message a target. A test's own process in the place of a module is as any
        other.
        """
        module = target.process in _MODULES and target.process not in self.others
        if target.process == HTTP_SERVER or target.process in self.private or module:
            return self.missing_to_message(target)
        return None

    def _ring(self, body: bytes) -> None:
        self.post_request(Address(self.our_address.node, _TIMER), body)

    def raw_address(self, address: Address) -> types.Address:
        """The bindings' form of an address."""
        return address_to_wit(address)
