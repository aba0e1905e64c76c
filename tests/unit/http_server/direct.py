"""Runs tests of HTTP a second time, with all requests answered directly that can be.

In a node the first request to a path is answered by the ASGI application, which keeps the route; here the route is kept
before, so that tests of one request try that way, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from starlette.requests import Request

from guesthouse.http_server.http.app import HttpApp
from guesthouse.http_server.http.direct_request import DirectAnswers, DirectRequest, Respondent
from guesthouse.http_server.http.direct_routes import DirectRoute
from guesthouse.http_server.http.requests import RequestHeaders
from guesthouse.http_server.http.service_workers import refused_worker
from guesthouse.http_server.http.static_files import static_answer
from guesthouse.http_server.routing.paths import MAX_PATH, BadPath, split_process_path

BOTH_WAYS = pytest.mark.parametrize("directly", [False, True], indirect=True, ids=["ASGI", "directly"])
"""For modules of tests, beside `usefixtures("directly")`."""

Ask = Callable[[DirectAnswers, Respondent, bytes, bytes, list[tuple[bytes, bytes]]], DirectRequest | None]


def answer_directly(app: HttpApp, monkeypatch: pytest.MonkeyPatch) -> list[DirectRequest]:
    """Keep the route of each request before it is answered; returns those that are answered directly."""
    ask: Ask = DirectAnswers.request
    taken: list[DirectRequest] = []

    def request(
        self: DirectAnswers, sender: Respondent, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]
    ) -> DirectRequest | None:
        found = ask(self, sender, method, url, headers)
        if found is None and self is app.direct:
            _keep(app, sender, method, url, headers)
            found = ask(self, sender, method, url, headers)
        if found is not None:
            taken.append(found)
        return found

    monkeypatch.setattr(DirectAnswers, "request", request)
    return taken


def _keep(
    app: HttpApp, sender: Respondent, method: bytes, url: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """What the application does with a request until it asks the process."""
    path, _, query = url.partition(b"?")
    scope: dict[str, Any] = {
        "type": "http",
        "method": method.decode(),
        "scheme": sender.scheme,
        "client": sender.client,
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
    }
    request, pages, context = Request(scope), app.processes, app.context
    site = context.access.site(RequestHeaders(request))
    refused = refused_worker(request, site, context.settings.http.service_workers)
    if site is None or refused is not None or len(path) > MAX_PATH:
        return
    try:
        requested = split_process_path(path.decode())
    except BadPath:
        return
    process = context.router.find(requested.process)
    match = None if process is None else context.bindings.find_http(process.id, requested.segments)
    if process is None or process.gone or match is None:
        return
    policy, binding = pages._policy(request, process.id), match.binding
    claims = pages._admit(request, process.id, binding)
    if claims is not None or binding.local_only:
        return
    route = DirectRoute(process, match, policy, hsts=policy.scheme == "https" and sender.scheme != "https")
    if binding.static is None:
        pages._keep(request, route)
    elif method == b"GET" and not binding.static.is_large:
        response = static_answer(binding, request)
        response = pages._finished(request, response, process.id, policy, None, binding)
        pages._keep_static(request, route, response)
