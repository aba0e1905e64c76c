from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from guesthouse_sdk import Address, Process, get_blob, our, receive, send_ws_push
from guesthouse_sdk.entry import BadMain
from guesthouse_sdk.testing import FakeHost, FakeLimits, load_main


def waits(our: Address) -> None:
    while True:
        receive()


async def asynchronous(our: Address) -> None:
    pass


class NoProcess:
    pass


def test_calls_without_a_host_say_what_to_do() -> None:
    for call in (our, receive, get_blob):
        with pytest.raises(RuntimeError, match="FakeHost"):
            call()


def test_two_hosts_at_once_are_refused_and_one_after_the_other_are_not() -> None:
    with FakeHost(), pytest.raises(RuntimeError, match="another FakeHost"), FakeHost():
        pass
    with FakeHost() as host:
        host.run(waits)


def test_a_process_that_never_comes_back_is_an_error() -> None:
    stop: list[bool] = []

    def spins(our: Address) -> None:
        while not stop:
            pass

    with FakeHost() as host:
        with pytest.raises(TimeoutError, match="did not come back"):
            host.run(spins, seconds=0.05)
        stop.append(True)


def test_what_the_process_does_not_catch_is_raised_in_the_test() -> None:
    def fails(our: Address) -> None:
        raise LookupError("gone")

    with FakeHost() as host:
        with pytest.raises(LookupError, match="gone"):
            host.run(fails)
        with pytest.raises(RuntimeError, match="no process is running"):
            host.run()


def test_the_process_goes_on_where_it_waited() -> None:
    seen: list[int] = []

    def counts(our: Address) -> None:
        for count in range(10):
            receive()
            seen.append(count)

    with FakeHost() as host:
        host.open()
        host.run(counts)
        assert seen == [0]
        host.open()
        host.run(counts)
        assert seen == [0, 1]


def test_leaving_the_block_ends_the_process_even_if_it_catches_everything() -> None:
    ended: list[bool] = []
    log: list[Exception] = []

    def stubborn(our: Address) -> None:
        try:
            while True:
                try:
                    receive()
                except Exception as error:  # what authors write; the end must pass through it
                    log.append(error)
        finally:
            ended.append(True)

    with FakeHost() as host:
        host.run(stubborn)
    assert ended == [True]


def test_a_client_cannot_send_what_the_node_would_refuse() -> None:
    with FakeHost(limits=FakeLimits(message_bytes=10)) as host:
        channel = host.open()
        with pytest.raises(RuntimeError, match="1009"):
            channel.send_bytes(b"x" * 11)
        channel.close()
        channel.close()
        with pytest.raises(RuntimeError, match="the client left"):
            channel.send_text("late")


@pytest.mark.parametrize(
    ("main", "reason"),
    [
        (None, "has no main"),
        (NoProcess, "no Process"),
        (Process(), "without"),
        (asynchronous, "async"),
        (7, "is of type int"),
    ],
)
def test_a_main_that_cannot_be_run_is_explained(main: object, reason: str, tmp_path: Path) -> None:
    from guesthouse_sdk.entry import checked_main

    with pytest.raises(BadMain, match=reason):
        checked_main(main, "app")


def test_a_module_is_loaded_by_its_file_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_app.py").write_text("def main(our): pass\n")
    (tmp_path / "app.py").write_text("from neighbour_of_app import main\n")
    main = load_main(tmp_path / "app.py")
    with FakeHost() as host:
        host.run(main)
        assert host.ended
    (tmp_path / "empty.py").write_text("")
    for name in ("empty.py", "missing.py", "app.txt"):
        with pytest.raises(BadMain):
            load_main(tmp_path / name)


def test_a_module_that_is_loaded_twice_is_two_modules(tmp_path: Path) -> None:
    source = """
        from __future__ import annotations
        from dataclasses import dataclass
        from guesthouse_sdk.typed import Decoder

        @dataclass
        class Inner: pass

        @dataclass
        class Outer:
            inner: Inner

        def main(our): assert isinstance(Decoder(Outer).decode('{"inner": {}}').inner, Inner)
    """
    (tmp_path / "app.py").write_text(dedent(source))
    first, second = load_main(tmp_path / "app.py"), load_main(tmp_path / "app.py")
    for main in (first, second):
        with FakeHost() as host:
            host.run(main)


def test_the_readme_example_holds() -> None:
    from guesthouse_sdk import LazyLoadBlob, WebSocketPush, WsMessageType

    def main(our: Address) -> None:
        while True:
            match receive():
                case WebSocketPush(channel_id):
                    blob = get_blob() or LazyLoadBlob()
                    send_ws_push(our.node, channel_id, WsMessageType.Text, blob)

    with FakeHost() as host:
        channel = host.open()
        channel.send_text("hi")
        host.run(main)
        assert channel.received == ["hi"]
