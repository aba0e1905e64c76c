"""Routes in the fake host. Their requests run against real nodes in `tests/e2e/test_python_modules.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from guesthouse_sdk import (
    BindNotAuthorised,
    Capability,
    Cors,
    Http,
    HttpResponse,
    Process,
    RouteConflict,
    route,
    send_http_response,
)
from guesthouse_sdk.testing import FakeHost, Refused, load_main
from tests.route_requests import REQUESTS

MAIN = load_main(Path(__file__).parents[2] / "e2e/guests/python/scenarios.py")


@pytest.mark.parametrize("name", list(REQUESTS))
def test_routes_answer_as_in_a_real_node(name: str) -> None:
    (method, path, body, headers), (status, text, expected) = REQUESTS[name]
    with FakeHost() as host:
        host.run(MAIN)
        answer = host.http(method, path, body, headers=headers)
        host.run()
        assert (answer.status, answer.text) == (status, text)
        found: dict[str, str | None] = {}
        for key, value in [*answer.headers, *([("content-type", answer.mime)] if answer.mime else [])]:
            before = found.get(key.lower())
            found[key.lower()] = value if before is None else f"{before}, {value}"
        assert {wanted: found.get(wanted) for wanted in expected} == expected
        assert [line.text.splitlines()[0] for line in host.log] == (
            ["broken failed"] if name == "broken" else []
        )


class Base(Process):
    @route("GET", "/a", authenticated=False)
    @route("POST", "/b", authenticated=False)
    def shared(self, request: Http) -> str:
        return request.bound_path

    @route("GET", "/private")
    def private(self, request: Http) -> None:
        send_http_response(200, body="by itself")

    @route("GET", "/gone", authenticated=False)
    def gone(self, request: Http) -> str:
        return "of the base"


class Derived(Base):
    def gone(self, request: Http) -> str:
        return "no route"

    @route("GET", "/bytes", authenticated=False, cors=Cors(["*"]))
    def raw(self, request: Http) -> bytes:
        return b"raw"

    @route("GET", "/full", authenticated=False, cors=Cors(["https://a.example"], credentials=True))
    def full(self, request: Http) -> HttpResponse:
        return HttpResponse("full", headers={"x": "y"})


def test_routes_are_inherited_and_bound_on_their_own_conditions() -> None:
    with FakeHost() as host:
        host.run(Derived)
        exchanges = [
            host.http(*request, logged_in=False) for request in (("GET", "/a"), ("POST", "/b"), ("GET", "/b"))
        ]
        own = host.http("GET", "/private")
        host.run()
        assert [(each.status, each.text) for each in exchanges[:2]] == [(200, "/a"), (200, "/b")]
        assert exchanges[2].status == 405
        assert ("Allow", "OPTIONS, POST") in exchanges[2].headers
        assert own.text == "by itself"
        with pytest.raises(Refused, match="401"):
            host.http("GET", "/private", logged_in=False)
        with pytest.raises(Refused, match="404"):
            host.http("GET", "/gone")


def test_cors_is_that_of_the_route() -> None:
    with FakeHost() as host:
        host.run(Derived)
        headers = {"origin": "https://a.example"}
        plain, raw, full = (host.http("GET", path, headers=headers) for path in ("/a", "/bytes", "/full"))
        host.run()
        assert plain.headers == []
        assert raw.headers == [("Access-Control-Allow-Origin", "*")]
        assert full.headers == [
            ("x", "y"),
            ("Vary", "Origin"),
            ("Access-Control-Allow-Origin", "https://a.example"),
            ("Access-Control-Allow-Credentials", "true"),
        ]


def conflict(**routes: Any) -> str:
    with pytest.raises(RouteConflict) as caught:
        type("Shop", (Process,), routes)
    return str(caught.value)


def named(method: str, path: str, **more: Any) -> Any:
    return route(method, path, **more)(lambda self, request: "")


def test_conflicts_are_errors_of_the_class_with_the_names() -> None:
    text = conflict(one=named("GET", "/a"), two=named("GET", "/a"))
    assert text == "Shop.one and Shop.two are both routes for GET /a"
    text = conflict(one=named("GET", "/a/:x"), two=named("POST", "/a/:y"))
    assert text == "Shop.one and Shop.two have routes for the same path, /a/:x and /a/:y: use one name"
    text = conflict(one=named("GET", "/a"), two=named("POST", "/a", authenticated=False))
    assert text == "Shop.one and Shop.two have routes for /a on different conditions: give both the same"
    with pytest.raises(RouteConflict, match=r"Again\.more and Again\.shared are both routes for GET /a"):
        type("Again", (Base,), {"more": named("GET", "/a", authenticated=False)})


@pytest.mark.parametrize(("method", "path"), [("get", "/a"), ("HEAD", "/a"), ("OPTIONS", "/a"), ("GET", "a")])
def test_a_route_that_cannot_be_one_is_refused(method: str, path: str) -> None:
    with pytest.raises(ValueError, match="route"):
        route(method, path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"origins": ["*"], "credentials": True},
        {"origins": ["*", "https://a.example"]},
        {"origins": ["https://a.example/"]},
        {"origins": ["null"]},
        {"origins": ["a.example"]},
        {"origins": ["https://a.example\r\nx: y"]},
        {"origins": ["https://a.example"], "headers": ["x y"]},
        {"origins": ["https://a.example"], "methods": ["*"]},
        {"origins": "https://a.example"},
    ],
)
def test_a_cors_that_would_open_more_than_it_says_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Cors(**wrong)


def test_a_process_that_may_not_bind_its_routes_does_not_start() -> None:
    with FakeHost() as host:
        host.held.discard(Capability.messaging("fake.os@http-server:distro:sys"))
        with pytest.raises(BindNotAuthorised):
            host.run(Base)
