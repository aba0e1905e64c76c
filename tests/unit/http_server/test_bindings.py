"""The table of bound paths: what is bound, and that its work grows no faster than the number of paths."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from guesthouse.core.address import ForeignProcess, ProcessId
from guesthouse.http_server.routing import bindings as bindings_module
from guesthouse.http_server.routing.bindings import Bindings
from guesthouse.link.calls import BindHttpPath, BindWsPath

MINE = ProcessId.parse("chat:chat:test.os")


def http(path: str, content: bytes | None = None) -> BindHttpPath:
    return BindHttpPath(path, authenticated=False, local_only=False, content=content)


def calls_of(work: Callable[[], None]) -> int:
    """How many functions a piece of work calls."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/item/{}", "/item/{}/:name"])
def test_the_work_of_binding_grows_with_the_number_of_paths_and_not_with_its_square(path: str) -> None:
    def bind(count: int) -> Callable[[], None]:
        def work() -> None:
            bindings = Bindings(count // 2, static_bytes=1000)  # the second half is refused
            for number in range(count):
                bindings.bind_http(MINE, http(path.format(number)))
                bindings.bind_ws(MINE, BindWsPath(path.format(number), authenticated=False))

        return work

    assert calls_of(bind(1000)) < 3 * calls_of(bind(500))


def test_content_counts_once_however_often_it_is_bound_and_unbound() -> None:
    bindings = Bindings(10, static_bytes=100)
    for _ in range(3):
        assert bindings.bind_http(MINE, http("/a", b"x" * 60)) is None
        assert bindings.bind_http(MINE, http("/:b", b"x" * 40)) is None
    assert bindings.bind_http(MINE, http("/c", b"x")) == "too-many"
    assert bindings.bind_http(MINE, http("/a", b"x" * 61)) == "too-many"
    assert bindings.bind_http(MINE, http("/a", b"x" * 59)) is None
    assert bindings.bind_http(MINE, http("/c", b"x")) is None
    bindings.unbind_http(MINE, "/:b")
    bindings.unbind_http(MINE, "/:b")
    assert bindings.bind_http(MINE, http("/d", b"x" * 41)) == "too-many"
    assert bindings.bind_http(MINE, http("/d", b"x" * 40)) is None
    bindings.drop(MINE)
    assert bindings.bind_http(MINE, http("/e", b"x" * 100)) is None


def test_paths_that_were_looked_up_may_be_bound_replaced_and_unbound() -> None:
    bindings = Bindings(10, static_bytes=100)

    def found(*segments: str) -> str | None:
        match = bindings.find_http(MINE, segments)
        return None if match is None else match.binding.pattern.text

    bindings.bind_http(MINE, http("/*"))
    assert found("a", "b") == "/*"
    bindings.bind_http(MINE, http("/:x/b"))
    assert found("a", "b") == "/:x/b"
    bindings.bind_http(MINE, http("/a/:y"))
    bindings.bind_http(MINE, http("/:x/b"))
    assert found("a", "b") == "/a/:y"
    bindings.unbind_http(MINE, "/a/:y")
    bindings.unbind_http(MINE, "/:other/b")
    assert found("a", "b") == "/:x/b"
    assert [each.pattern.text for each in bindings.of(MINE)[1]] == ["/:x/b", "/*"]


def test_a_node_that_announces_packages_without_end_takes_labels_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bindings_module, "MOST_FOREIGN_LABELS", 3)
    bindings = Bindings(10, static_bytes=100)

    def has(package: str, node: str) -> bool:
        return bindings.has_label(ForeignProcess("p", package, "test.os", node))

    assert [has(f"package-{number}", "hostile.os") for number in range(5)] == [True] * 3 + [False] * 2
    assert has("package-0", "hostile.os")
    assert has("package-0", "other.os")
    assert has("package-4", "other.os")
    assert bindings.has_label(MINE)
