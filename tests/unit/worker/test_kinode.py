"""Guests of the Kinode OS in the real worker: how they are run, and what their interface does not say."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final

import pytest
from msgspec import structs
from tests.wire import Call, ToNode, ToWorker

from guesthouse.core.address import Address
from guesthouse.core.exit_cause import ExitCause
from guesthouse.http_server.api.json_api import _BIND_ERRORS
from guesthouse.http_server.api.port import PushProblem
from guesthouse.link.to_worker import Close, Http, Open, Push, Response
from guesthouse.worker.calls import kinode
from guesthouse.worker.contract_messages import CONTRACT
from guesthouse.worker.kinode_errors import known_error
from guesthouse.worker.kinode_messages import STANDARD

from .guests import RECEIVE_FOR_EVER, Wasi, data, process
from .process import OUR, Worker
from .wasi import OUTPUT, SLEEP

NEWEST: Final = "hyperware:process/standard@1.0.0"
PRINT: Final = '(export "print-to-terminal" (func (param "verbosity" u8) (param "message" string)))'
SET_STATE: Final = '(export "set-state" (func (param "bytes" (list u8))))'
CLEAR_STATE: Final = '(export "clear-state" (func))'


def guest(
    export: str,
    signature: str,
    body: str,
    *,
    interface: str = NEWEST,
    functions: dict[str, str] | None = None,
    run: str = '(param "our" string)',
    core: str = "(param i32 i32)",
) -> str:
    """A component that imports one function of `process/standard` and exports `init`."""
    name = (functions or {}).get("name", "print-to-terminal")
    return f"""(component
  (import "{interface}" (instance $standard {export}))
  (core module $libc (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "cabi_realloc" (core func $realloc))
  (core func $call (canon lower (func $standard "{name}") (memory $memory) (realloc $realloc)))
  (core module $main (import "libc" "memory" (memory 0)) (import "host" "call" (func $call {signature}))
    (func (export "init") {core} {body}))
  (core instance $main (instantiate $main (with "libc" (instance $libc))
    (with "host" (instance (export "call" (func $call))))))
  (func $init {run} (canon lift (core func $main "init") (memory $memory) (realloc $realloc)))
  (export "init" (func $init)))"""


def printing(interface: str = NEWEST, verbosity: int = 0, **how: Any) -> str:
    """A guest that prints what it is given."""
    body = f"(call $call (i32.const {verbosity}) (local.get 0) (local.get 1))"
    return guest(PRINT, "(param i32 i32 i32)", body, interface=interface, **how)


VERSIONS: Final = ("kinode:process/standard@0.7.0", "kinode:process/standard@0.8.0",
                   "kinode:process/standard@1.0.0", "kinode:process/standard@1.0.1", NEWEST)  # fmt: skip


@pytest.mark.parametrize("interface", VERSIONS)
def test_init_is_given_the_address_as_text(worker: Worker, interface: str) -> None:
    started = worker.start(printing(interface))
    assert started.expect(ToNode.LOG) == ["print", "info", OUR]
    assert started.death() == [ExitCause.RETURNED, "its run function returned"]


def test_what_is_printed_at_a_higher_verbosity_is_for_who_looks_closer(worker: Worker) -> None:
    assert worker.start(printing(verbosity=3)).expect(ToNode.LOG) == ["print", "debug", OUR]


@pytest.mark.parametrize(
    "interface",
    [
        "kinode:process/standard@0.5.0",
        "kinode:process/standard@2.0.0",
        "kinode:process/standard",
        "hyperware:process/standard@0.7.0",
        "uqbar:process/standard@0.7.0",
    ],
)
def test_a_version_that_is_not_known_is_refused_by_name(worker: Worker, interface: str) -> None:
    cause, detail = worker.start(printing(interface)).death()
    assert cause == ExitCause.NOT_STARTED
    assert "imports 'print-to-terminal' of " + interface in detail
    assert "\n" not in detail


@pytest.mark.parametrize(
    ("run", "core"),
    [
        ("", ""),
        ('(param "our" u32)', "(param i32)"),
        ('(param "our" (list u8))', "(param i32 i32)"),
        ('(param "our" string) (param "more" u32)', "(param i32 i32 i32)"),
        ('(param "our" string) (result u32)', "(param i32 i32) (result i32)"),
    ],
)
def test_an_init_of_another_signature_is_not_started(worker: Worker, run: str, core: str) -> None:
    text = guest(PRINT, "(param i32 i32 i32)", "unreachable", run=run, core=core)
    cause, detail = worker.start(text).death()
    assert cause == ExitCause.NOT_STARTED
    assert "world `process`" in detail
    assert "\n" not in detail


def test_a_component_with_neither_entry_is_told_both(worker: Worker) -> None:
    cause, detail = worker.start("(component)").death()
    assert cause == ExitCause.NOT_STARTED
    assert detail.startswith("exports no guesthouse:process/guest@0.1.0 and no function 'init': ")


def test_an_init_that_is_no_function_is_refused(worker: Worker) -> None:
    cause, detail = worker.start('(component (instance $i) (export "init" (instance $i)))').death()
    assert (cause, "no function 'init'" in detail) == (ExitCause.NOT_STARTED, True)


def test_a_component_with_both_entries_is_run_by_that_of_the_contract(worker: Worker) -> None:
    text = process(("system.print", "messaging.receive"), RECEIVE_FOR_EVER)
    both = (
        text.rstrip().removesuffix(")")
        + """
      (core module $never (func (export "init") (param i32 i32) unreachable))
      (core instance $never (instantiate $never))
      (func $init (param "our" string)
        (canon lift (core func $never "init") (memory $memory) (realloc $realloc)))
      (export "init" (func $init)))"""
    )
    started = worker.start(both).started()
    assert started.stop()[0] == ExitCause.STOPPED


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (
            ["too-big", "n.os@state:distro:sys", '{"bytes":9}'],
            'too-big: it lacks {"bytes":9} of n.os@state:distro:sys',
        ),
        ("storage", "storage"),
    ],
)
def test_state_that_is_not_stored_ends_the_process_since_it_cannot_be_told(
    worker: Worker, problem: Any, why: str
) -> None:
    body = "(call $call (local.get 0) (local.get 1))"
    started = worker.start(guest(SET_STATE, "(param i32 i32)", body, functions={"name": "set-state"}))
    call_id, name, arguments = started.expect(ToNode.CALL)
    assert (name, arguments) == (Call.SET_STATE, [OUR.encode()])
    started.send(ToWorker.REPLY, call_id, problem)
    cause, detail = started.death()
    assert (cause, f"({why})" in detail) == (ExitCause.TRAP, True)


def test_state_is_stored_before_the_process_goes_on(worker: Worker) -> None:
    started = worker.start(guest(CLEAR_STATE, "", "(call $call)", functions={"name": "clear-state"}))
    call_id, name, _ = started.expect(ToNode.CALL)
    assert (name, worker.got(ToNode.EXITED)) == (Call.CLEAR_STATE, [])
    started.send(ToWorker.REPLY, call_id, None)
    assert started.death()[0] == ExitCause.RETURNED


SPAWN: Final = """(type $on-exit' (variant (case "none") (case "restart")))
  (export "on-exit" (type $on-exit (eq $on-exit')))
  (type $process-id'
    (record (field "process-name" string) (field "package-name" string) (field "publisher-node" string)))
  (export "process-id" (type $process-id (eq $process-id')))
  (type $address' (record (field "node" string) (field "process" $process-id)))
  (export "address" (type $address (eq $address')))
  (type $capability' (record (field "issuer" $address) (field "params" string)))
  (export "capability" (type $capability (eq $capability')))
  (type $spawn-error' (enum "name-taken" "no-file-at-path"))
  (export "spawn-error" (type $spawn-error (eq $spawn-error')))
  (export "spawn" (func (param "name" (option string)) (param "wasm-path" string) (param "on-exit" $on-exit)
    (param "request-capabilities" (list $capability))
    (param "grant-capabilities" (list (tuple $process-id string))) (param "public" bool)
    (result (result $process-id (error $spawn-error)))))"""


@pytest.mark.parametrize(
    ("refusal", "case"),
    [
        ("name-taken", 0),
        ("no-file-at-path", 1),
        (["not-authorised", "n.os@kernel:distro:sys", '"spawn"'], 1),
        ("too-many", 1),
    ],
)
def test_a_refusal_that_spawn_has_no_word_for_is_the_closest_that_it_has(
    worker: Worker, refusal: Any, case: int
) -> None:
    zeros = "(i32.const 0) " * 6
    body = f"""(call $call (i32.const 0) (i32.const 0) (i32.const 0) (local.get 0) (local.get 1) {zeros} (i32.const 64))
      (if (i32.ne (i32.load8_u (i32.const 64)) (i32.const 1)) (then unreachable))
      (if (i32.ne (i32.load8_u (i32.const 68)) (i32.const {case})) (then unreachable))"""
    signature = f"(param {'i32 ' * 12})"
    started = worker.start(guest(SPAWN, signature, body, functions={"name": "spawn"}))
    call_id, name, arguments = started.expect(ToNode.CALL)
    assert (name, arguments) == (Call.SPAWN, [None, OUR, "none", [], [], False])
    started.send(ToWorker.REPLY, call_id, refusal)
    assert started.death()[0] == ExitCause.RETURNED


def of_version(wasi: tuple[Wasi, ...], version: str) -> tuple[Wasi, ...]:
    return tuple(replace(each, interface=each.interface.replace("@0.2.0", f"@{version}")) for each in wasi)


@pytest.mark.parametrize(
    "version", ["0.2.0-rc-2023-11-10", "0.2.0-rc-2023-12-05", "0.2.1", "0.2.6", "0.2.12"]
)
def test_wasi_of_any_version_writes_and_sleeps(worker: Worker, version: str) -> None:
    body = """(local i32) (local.set 8 (call $get-stderr))
      (call $pollable.block (call $subscribe-duration (i64.const 1000000)))
      (call $output-stream.blocking-write-and-flush (local.get 8) (i32.const 8192) (i32.const 6)
        (i32.const 64))"""
    started = worker.start(
        process((), body, more=data("hello\n", 8192), wasi=of_version((*SLEEP, *OUTPUT), version))
    )
    assert started.expect(ToNode.LOG) == ["stderr", "warning", "hello"]


def test_the_dialects_have_a_form_for_the_same_messages() -> None:
    assert STANDARD.received.keys() == CONTRACT.received.keys()
    assert STANDARD.awaited.keys() == CONTRACT.awaited.keys()


class Named:
    """A guest as far as converters of messages look at it."""

    node = "n.os"
    handle = 1

    def __init__(self, spellings: dict[str, str]) -> None:
        self.blob: tuple[str | None, bytes | None] = (None, None)
        self.spellings = spellings
        self.current_request = self.closed_channel = 0
        self.limits = SimpleNamespace(cpu_seconds_per_message=1.0)
        self.our = Address.parse(OUR)
        self.claims: dict[int, str] = {}

    def expect_http_answer(self, http_id: int) -> None:
        self.current_request = -http_id

    def take_up(self, mime: str | None = None, payload: bytes | None = None, *, channel_id: int = 0) -> None:
        self.current_request, self.channel_id = 0, channel_id
        self.blob = (mime, payload)


@pytest.mark.parametrize("message_type", range(5))
def test_a_push_says_its_type_by_name(message_type: int) -> None:
    guest: Any = Named({})
    _, request = STANDARD.received[Push](guest, Push(1, 7, message_type, b"x")).value
    name = ("Text", "Binary", "Ping", "Pong", "Close")[message_type]
    body = {"WebSocketPush": {"channel_id": 7, "message_type": name}}
    assert json.loads(request[1]["body"]) == body
    assert request[1]["expects-response"] is None
    assert guest.blob == (None, b"x")


def test_a_close_frame_comes_before_the_end_of_its_channel_and_none_when_there_was_none() -> None:
    guest: Any = Named({})
    _, request = STANDARD.received[Close](guest, Close(1, 7, b"bye")).value
    assert json.loads(request[1]["body"]) == {"WebSocketPush": {"channel_id": 7, "message_type": "Close"}}
    assert (guest.blob, guest.closed_channel) == ((None, b"bye"), 7)
    _, request = kinode.CALLS["receive"].call(guest).value
    assert json.loads(request[1]["body"]) == {"WebSocketClose": 7}
    assert (guest.blob, guest.closed_channel) == ((None, None), 0)
    _, request = STANDARD.received[Close](guest, Close(1, 8)).value
    assert json.loads(request[1]["body"]) == {"WebSocketClose": 8}


def test_claims_are_in_an_event_when_there_are_some() -> None:
    guest: Any = Named({})
    opened = Open(1, 7, "/", None, None, (), (), False, 100, None, None)
    asked = Http(1, 3, "GET", "http://h/", "/", (), (), (), None, None, b"")
    for message, name in ((opened, "WebSocketOpen"), (asked, "Http")):
        for more, told in (({}, None), ({"claims": '{"user":"Zoë"}'}, {"user": "Zoë"})):
            _, request = STANDARD.received[type(message)](guest, structs.replace(message, **more)).value
            assert json.loads(request[1]["body"])[name].get("claims") == told


@pytest.mark.parametrize(
    ("url", "bound", "shown", "shown_bound"),
    [
        ("http://h:8080/g:p:s/games/?a=1&b=2", "/games", "http://h/g:p:s/games", "/games"),
        ("https://[::1]:1/g:p:s/", "/", "https://[::1]/g:p:s", ""),
        ("http://h/g:p:s", "/", "http://h/g:p:s", ""),
        ("http://h/g:p:s/a%20b/x:y", "/:a/*b", "http://h/g:p:s/a%20b/x:y", "/:a/*b"),
    ],
)
def test_a_url_has_neither_port_nor_query_nor_a_slash_at_its_end(
    url: str, bound: str, shown: str, shown_bound: str
) -> None:
    guest: Any = Named({})
    message = Http(1, 3, "GET", url, bound, (), (), (), None, None, b"")
    _, request = STANDARD.received[Http](guest, message).value
    event = json.loads(request[1]["body"])["Http"]
    assert (event["url"], event["bound_path"]) == (shown, f"/{guest.our.process}{shown_bound}")


NEW: Final = "http-server:distro:sys"


@pytest.mark.parametrize(
    ("source", "spelling", "error", "heard"),
    [
        (NEW, None, "WsChannelNotFound", "WsChannelNotFound"),
        (NEW, None, "WsMessageTooBig", "MalformedRequest"),
        (NEW, None, "WsChannelFull", "Timeout"),
        (NEW, None, "NoSubdomain", "InvalidSourceProcess"),
        (NEW, "http_server:distro:sys", "NoBlob", "NoBlob"),
        (NEW, "http_server:sys:nectar", "MalformedRequest", {"BadRequest": {"req": "MalformedRequest"}}),
        (NEW, "http_server:distro:sys", "BadPath", {"PathBindError": {"error": "BadPath"}}),
        (
            NEW,
            "http_server:distro:sys",
            "WsChannelNotFound",
            {"WebSocketPushError": {"error": "WsChannelNotFound"}},
        ),
        (
            "vfs:distro:sys",
            None,
            {"QuotaExceeded": {"path": "/p", "action": "Write", "error": "QuotaExceeded"}},
            {"IOError": {"path": "/p", "action": "Write", "error": "QuotaExceeded"}},
        ),
        (
            "vfs:distro:sys",
            None,
            {"IOError": {"error": "x"}},
            {"IOError": {"path": "", "action": "", "error": "x"}},
        ),
        ("kv:distro:sys", None, "QuotaExceeded", {"IOError": {"error": "QuotaExceeded"}}),
        ("kv:distro:sys", None, "KeyNotFound", "KeyNotFound"),
        ("own:tiny:tests", None, "WsMessageTooBig", "WsMessageTooBig"),
    ],
)
def test_an_error_that_its_library_does_not_know_comes_as_the_nearest_that_it_does(
    source: str, spelling: str | None, error: Any, heard: Any
) -> None:
    guest: Any = Named({} if spelling is None else {NEW: spelling})
    body = json.dumps({"Err": error}).encode()
    message = Response(1, f"n.os@{source}", body, False, None, None, None, None, 0)
    _, (_, (response, _)) = STANDARD.received[Response](guest, message).value
    assert json.loads(response["body"]) == {"Err": heard}
    message = structs.replace(message, source=f"n.os@{NEW}", body=b'{"Ok": null}')
    _, (_, (response, _)) = STANDARD.awaited[Response](guest, message).value
    assert response["body"] == b'{"Ok": null}'


def test_every_error_of_the_http_server_has_a_word_for_every_era() -> None:
    known = {
        "MalformedRequest",
        "NoBlob",
        "InvalidSourceProcess",
        "WsPingPongTooLong",
        "WsChannelNotFound",
        "Timeout",
    }
    older = {"BadRequest", "NoBlob", "PathBindError", "WebSocketPushError"}
    for error in {*PushProblem, *_BIND_ERRORS.values(), "NoBlob", "InvalidSourceProcess", "MalformedRequest"}:
        body = json.dumps({"Err": str(error)}).encode()
        assert json.loads(known_error(NEW, body, older=False))["Err"] in known
        said = json.loads(known_error(NEW, body, older=True))["Err"]
        assert (said if isinstance(said, str) else next(iter(said))) in older


def test_an_event_comes_from_the_http_server_by_the_name_that_the_process_uses() -> None:
    for spellings, process_name, publisher in (
        ({}, "http-server", "sys"),
        ({"http-server:distro:sys": "http_server:distro:sys"}, "http_server", "sys"),
        ({"http-server:distro:sys": "http_server:sys:nectar"}, "http_server", "nectar"),
    ):
        guest: Any = Named(spellings)
        source, _ = STANDARD.received[Close](guest, Close(1, 7)).value
        assert source["node"] == "n.os"
        assert source["process"]["process-name"] == process_name
        assert source["process"]["publisher-node"] == publisher


def test_the_table_of_calls_is_that_of_the_interface() -> None:
    assert set(kinode.CALLS) == {
        "print-to-terminal", "our", "get-on-exit", "set-on-exit", "get-state", "set-state", "clear-state", "spawn",
        "save-capabilities", "drop-capabilities", "our-capabilities", "receive", "has-blob", "get-blob", "last-blob",
        "send-request", "send-requests", "send-response", "send-and-await-response",
    }  # fmt: skip
