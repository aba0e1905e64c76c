"""Does with capabilities what each request says, and answers in JSON what came of it."""

from __future__ import annotations

import json
from typing import Any

from guesthouse_sdk import (
    Address,
    Capability,
    IncomingRequest,
    MissingCapability,
    Process,
    ProcessId,
    Request,
    Response,
    bind_ws_path,
    drop_capabilities,
    our_capabilities,
    save_capabilities,
    set_state,
    spawn,
)


class Rights(Process):
    """A request is `[what, argument]`."""

    def on_request(self, source: Address, request: IncomingRequest) -> Response:
        self.source = source
        self.came = request.capabilities
        what, argument = json.loads(request.body)
        try:
            answer = getattr(self, what)(argument)
        except MissingCapability as refused:
            answer = {"refused": type(refused).__name__, "missing": str(refused.missing)}
        if isinstance(answer, Response):
            return answer
        return Response().body(json.dumps(answer))

    def ours(self, _: Any) -> list[str]:
        return [str(capability) for capability in our_capabilities()]

    def keep(self, _: Any) -> list[str]:
        save_capabilities(self.came)
        return [str(capability) for capability in self.came]

    def drop(self, names: list[list[Any]]) -> None:
        drop_capabilities([Capability.of(issuer, params) for issuer, params in names])

    def issue(self, params: Any) -> Response:
        return Response().body('"issued"').capabilities(Capability.of(self.our, params))

    def ask(self, arguments: list[Any]) -> Any:
        """Sends a request with capabilities; answers the response's body and what came with it."""
        target, body, attached = arguments
        rights = [Capability.of(issuer, params) for issuer, params in attached]
        request = Request().target(target).body(json.dumps(body)).capabilities(*rights)
        response = request.send_and_await_response(20)
        save_capabilities(response.capabilities)
        return [json.loads(response.body), [str(capability) for capability in response.capabilities]]

    def child(self, arguments: dict[str, Any]) -> str:
        rights = [Capability.of(issuer, params) for issuer, params in arguments.pop("gets", [])]
        grants = [ProcessId.parse(text) for text in arguments.pop("grants", [])]
        path = arguments.pop("path")
        child = spawn(path, request_capabilities=rights, grant_capabilities=grants, **arguments)
        return str(child)

    def bind(self, path: str) -> None:
        bind_ws_path(path)

    def store(self, size: int) -> None:
        set_state(bytes(size))


main = Rights
