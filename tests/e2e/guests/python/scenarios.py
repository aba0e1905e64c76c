"""What the SDK promises of the node's modules, as functions that run in a real node and in the fake host alike.

A client sends the name of a scenario, and gets `ok`, or how it failed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeVar

from guesthouse_sdk import (
    Address,
    BadMessage,
    Channel,
    Cors,
    Http,
    HttpResponse,
    IncomingRequest,
    IncomingResponse,
    NotAuthorised,
    Process,
    Response,
    bind_ws_path,
    route,
)
from guesthouse_sdk.kv import Conflict, KeyValues, QuotaExceeded
from guesthouse_sdk.passwords import PasswordError, hash_password, is_outdated, verify_password
from guesthouse_sdk.timers import set_timer
from guesthouse_sdk.typed import Decoder
from guesthouse_sdk.vfs import AlreadyExists, Drive, Entry, NotEmpty, NotFound, ReadOnly
from guesthouse_sdk.vfs import QuotaExceeded as DriveFull

ErrorT = TypeVar("ErrorT", bound=Exception)

QUOTA = 200_000
"""What a package may store in `kv`, and in `vfs`, where these run."""


APP = "https://app.example"


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Thing:
    name: str
    colour: Colour = Colour.RED


@dataclass
class Put:
    things: list[Thing]
    by: str | None = None
    sizes: dict[str, float] = field(default_factory=dict)


@dataclass
class TakeAway:
    which: Literal["first", "last"]
    count: int = 1


class Scenarios(Process):
    """Runs what it is told to."""

    cors = Cors([APP], exposed=["x-count"])

    @route("GET", "/things/:name", authenticated=False)
    def thing(self, request: Http) -> HttpResponse:
        return HttpResponse.json(dict(request.url_params), headers={"x-count": "1"})

    @route("PUT", "/things/:name", authenticated=False)
    def put_thing(self, request: Http) -> HttpResponse:
        return HttpResponse.json(request.json(), 201)

    @route("GET", "/", authenticated=False)
    def root(self, request: Http) -> str:
        return "root"

    @route("POST", "/broken", authenticated=False)
    def broken(self, request: Http) -> str:
        raise LookupError("no luck")

    def on_start(self) -> None:
        self.heard: list[object] = []
        self.timers: list[str] = []
        self.when_rung: Callable[[], None] = lambda: None
        bind_ws_path("/", authenticated=False)

    def on_message(self, channel: Channel, message: str | bytes) -> None:
        self.check(channel, lambda: SCENARIOS[str(message)](self, channel))

    def check(self, channel: Channel, work: Callable[[], object]) -> None:
        """Do the rest of a scenario, and say how it went unless it goes on."""
        try:
            done = work()
        except Exception:
            channel.send(traceback.format_exc())
        else:
            if done is not GOES_ON:
                channel.send("ok")

    def on_timer(self, timer_id: str) -> None:
        self.timers.append(timer_id)
        self.when_rung()

    def on_response(self, source: Address, response: IncomingResponse) -> None:
        self.heard.append(response)

    def on_request(self, source: Address, request: IncomingRequest) -> Response | None:
        self.heard.append(request)
        return None


GOES_ON = object()


def equal(found: object, expected: object) -> None:
    assert found == expected, f"{found!r} is not {expected!r}"


def refused(kind: type[ErrorT], call: Callable[..., object], *arguments: Any, **more: Any) -> ErrorT:
    """The error of a call that must fail."""
    try:
        result = call(*arguments, **more)
    except kind as error:
        return error
    raise AssertionError(f"{result!r} instead of {kind.__name__}")


def kv_values(process: Scenarios, channel: Channel) -> None:
    notes = KeyValues("values")
    equal(notes.get("a"), None)
    notes.set("a", "å")
    notes.set(b"\xff\x00", b"\xff")
    notes.set("empty", b"")
    equal(notes.get(b"a"), "å".encode())
    equal((notes.get(b"\xff\x00"), notes.get("\udcff\x00"), notes.get("empty")), (b"\xff", b"\xff", b""))
    notes.delete("a")
    notes.delete("a")
    equal((notes.get("a"), KeyValues("others").get("empty")), (None, None))
    notes.set("short", "gone", ttl=0)
    notes.set("long", "there", ttl=3600)
    equal((notes.get("short"), notes.get("long")), (None, b"there"))
    equal(sorted(notes, key=str), ["empty", "long", "\udcff\x00"])
    notes.clear()
    equal(list(notes), [])


def kv_keys(process: Scenarios, channel: Channel) -> None:
    notes = KeyValues("keys")
    notes.clear()
    for key in ("a/1", "a/2", "a/3", "b"):
        notes.set(key, key)
    equal(notes.keys(), ["a/1", "a/2", "a/3", "b"])
    equal(notes.keys("a/", limit=2), ["a/1", "a/2"])
    equal(notes.keys("a/", after="a/2"), ["a/3"])
    equal(list(notes.all_keys(b"a/")), ["a/1", "a/2", "a/3"])
    equal(notes.keys("c"), [])


def kv_swaps(process: Scenarios, channel: Channel) -> None:
    notes = KeyValues("swaps")
    notes.clear()
    notes.compare_and_set("k", None, "one")
    equal(refused(Conflict, notes.compare_and_set, "k", None, "two").current, b"one")
    notes.compare_and_set("k", "one", b"\xff")
    equal(refused(Conflict, notes.compare_and_set, "k", "one", "two").current, b"\xff")
    notes.compare_and_set("k", b"\xff", None)
    equal(notes.get("k"), None)
    equal(refused(Conflict, notes.compare_and_set, "k", "one", "two").current, None)


def kv_refusals(process: Scenarios, channel: Channel) -> None:
    notes = KeyValues("refusals")
    refused(QuotaExceeded, notes.set, "k", bytes(QUOTA))
    notes.set("k", bytes(QUOTA // 2))
    refused(QuotaExceeded, notes.set, "k2", bytes(QUOTA // 2))
    notes.set("k", bytes(QUOTA * 3 // 4))
    notes.clear()
    for wrong in ("", "x" * 1025):
        refused(ValueError, notes.get, wrong)
    for ttl in (-1, 1 << 40):
        refused(ValueError, notes.set, "k", "v", ttl=ttl)
    refused(TypeError, notes.set, "k", 5)
    refused(ValueError, notes.keys, limit=0)
    refused(ValueError, KeyValues, "")


def vfs_files(process: Scenarios, channel: Channel) -> None:
    drive = Drive("files")
    drive.make_folder("")
    drive.delete_folder("", with_content=True)
    equal((drive.exists(""), drive.exists("a.txt")), (False, False))
    drive.write("a.txt", "å")
    drive.append("a.txt", b"!")
    drive.append("deep/er/b", "new")
    equal((drive.read_text("a.txt"), drive.read("deep/er/b")), ("å!", b"new"))
    equal((drive.size("a.txt"), drive.size("deep")), (3, 0))
    equal((drive.exists("deep/er"), drive.exists("deep/er/c")), (True, False))
    equal(drive.list(), [Entry("a.txt", False), Entry("deep", True)])
    equal(drive.list("deep/er"), [Entry("b", False)])
    drive.copy("a.txt", "copy")
    drive.rename("a.txt", "deep/er/b")
    equal((drive.read("copy"), drive.read("deep/er/b")), ("å!".encode(), "å!".encode()))
    equal(drive.exists("a.txt"), False)
    drive.write("empty", b"")
    equal(drive.read("empty"), b"")
    drive.delete("copy")
    equal(drive.exists("copy"), False)


def vfs_refusals(process: Scenarios, channel: Channel) -> None:
    drive = Drive("refusals")
    drive.write("folder/a", "x")
    for call in (drive.read, drive.delete, drive.size, drive.list, drive.delete_folder):
        equal(refused(NotFound, call, "none").path, "refusals/none")
    refused(NotFound, drive.rename, "none", "b")
    refused(NotFound, drive.read, "folder")
    refused(AlreadyExists, drive.write, "folder", "x")
    refused(AlreadyExists, drive.append, "folder", "x")
    refused(AlreadyExists, drive.write, "folder/a/b", "x")
    refused(NotEmpty, drive.delete_folder, "folder")
    refused(DriveFull, drive.write, "big", bytes(QUOTA))
    equal(drive.list(), [Entry("folder", True)])
    drive.delete_folder("folder", with_content=True)
    equal(drive.list(), [])
    for path in ("..", "../pkg/package.toml", "a/../../x"):
        refused(ValueError, drive.read, path)
    for name in ("", "..", "a/b"):
        refused(ValueError, Drive, name)
    refused(TypeError, drive.write, "a", 5)


def vfs_package(process: Scenarios, channel: Channel) -> None:
    drive = Drive("pkg")
    assert drive.read_text("package.toml").startswith("[package]"), "package.toml is another file"
    assert Entry("package.toml", False) in drive.list(), f"{drive.list()} lacks package.toml"
    for refusal in (
        refused(ReadOnly, drive.write, "new", "x"),
        refused(ReadOnly, drive.append, "package.toml", "x"),
        refused(ReadOnly, drive.delete, "package.toml"),
        refused(ReadOnly, drive.rename, "package.toml", "x"),
        refused(ReadOnly, drive.copy, "package.toml", "x"),
        refused(ReadOnly, drive.make_folder, "new"),
    ):
        assert "pkg" in str(refusal), refusal


def timers_call(process: Scenarios, channel: Channel) -> object:
    calls: list[object] = []
    process.heard.clear()
    never = process.call_later(0.01, calls.append, "never")
    process.call_later(0.06, calls.append, "second")
    process.call_later(0.02, lambda: 1 / 0)  # is logged, and stops nothing
    first = process.call_later(0.03, calls.append, "first")
    never.cancel()

    def finish(said: str) -> None:
        equal(said, "given")
        equal(calls, ["first", "second"])
        equal((first.pending, never.pending), (False, False))
        equal(process.heard, [])

    process.call_later(0.09, process.check, channel, lambda: finish("given"))
    equal(first.pending, True)
    refused(ValueError, process.call_later, -1, calls.append, "x")
    refused(ValueError, process.call_later, float("nan"), calls.append, "x")
    refused(TypeError, process.call_later, "1", calls.append, "x")
    return GOES_ON


def timers_durable(process: Scenarios, channel: Channel) -> object:
    process.heard.clear()
    process.timers.clear()

    def finish() -> None:
        process.when_rung = lambda: None
        equal((process.timers, process.heard), (["wake"], []))

    process.when_rung = lambda: process.check(channel, finish)
    process.set_timer("never", 0.5)
    process.set_timer("wake", 3600)
    process.cancel_timer("never")
    process.cancel_timer("unknown")
    process.set_timer("wake", 0.05)  # again moves it
    refused(ValueError, process.set_timer, "", 1)
    refused(ValueError, process.set_timer, "x", 400 * 24 * 3600)
    return GOES_ON


def typed(process: Scenarios, channel: Channel) -> None:
    decoder = Decoder(Put | TakeAway)
    equal(
        decoder.decode('{"type": "put", "things": [{"name": "é", "colour": "blue"}], "sizes": {"x": 1}}'),
        Put([Thing("é", Colour.BLUE)], None, {"x": 1.0}),
    )
    equal(decoder.decode('{"type": "take-away", "which": "last"}'), TakeAway("last"))
    wrong = '{"type": "put", "things": [{"name": "a"}, {"name": 7}]}'
    equal(
        str(refused(BadMessage, decoder.decode, wrong)),
        "things[1].name: a string is expected, not a whole number",
    )
    deep = '{"type": "put", "things": ' + "[" * 400 + "]" * 400 + "}"
    for text in (deep, "[" * 100_000, "{"):
        refused(BadMessage, decoder.decode, text)


def passwords(process: Scenarios, channel: Channel) -> None:
    stored = hash_password("pässword")
    assert stored.startswith("$argon2id$v=19$m="), stored
    equal((verify_password("pässword", stored), verify_password("password", stored)), (True, False))
    equal(is_outdated("pässword", stored), False)
    assert hash_password("pässword") != stored, "two hashes have one salt"
    dear = "$argon2id$v=19$m=4194304,t=1000000,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"
    for password, text in (("", stored), ("x" * 1025, stored), ("x", "no hash"), ("x", dear), ("x", "")):
        refused(PasswordError, verify_password, password, text)
    refused(PasswordError, hash_password, "")
    refused(ValueError, hash_password, "\ud800")


def lacks(process: Scenarios, channel: Channel) -> None:
    """Only for a process that may use none of the modules."""
    for name, call in (
        ("kv", lambda: KeyValues("notes").get("k")),
        ("vfs", lambda: Drive("notes").exists("a")),
        ("timer", lambda: process.call_later(1, print)),
        ("timer", lambda: set_timer("x", 1)),
        ("passwords", lambda: hash_password("x")),
    ):
        error = refused(NotAuthorised, call)
        remedy = f'add "{name}:distro:sys" to its request-capabilities in package.toml'
        assert remedy in str(error), error
        equal(str(error.missing), f'"messaging" of {process.our.node}@{name}:distro:sys')


SCENARIOS: dict[str, Callable[[Scenarios, Channel], object]] = {
    work.__name__: work
    for work in (
        kv_values,
        kv_keys,
        kv_swaps,
        kv_refusals,
        vfs_files,
        vfs_refusals,
        vfs_package,
        timers_call,
        timers_durable,
        typed,
        passwords,
        lacks,
    )
}

main = Scenarios
