"""Every line of the protocol, and the tests that show it: for a process that speaks the contract, and for one that
speaks JSON. `test_protocol_table.py` holds it against the code, the contract, the documentation and the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROTOCOL: Final = "tests/e2e/test_http_protocol.py"
POLICIES: Final = "tests/e2e/test_http_policies.py"
BACKPRESSURE: Final = "tests/e2e/test_http_backpressure.py"
JSON: Final = "tests/e2e/test_http_json.py"
EXTENSION: Final = "tests/e2e/test_http_extension_push.py"
HANDED_ON: Final = "tests/e2e/test_http_handed_on.py"
ROOMS: Final = "tests/e2e/test_rooms.py"
CHANNELS: Final = "tests/e2e/test_channels.py"
KINODE: Final = "tests/e2e/test_kinode_guests.py"
CAPABILITIES: Final = "tests/e2e/test_capabilities.py"
UNIT: Final = "tests/unit/http_server"
WORKER: Final = "tests/unit/worker"


@dataclass(frozen=True, slots=True)
class Action:
    """What a process asks of the HTTP server. `wit` are the functions of the contract that do the same."""

    name: str
    fields: tuple[str, ...]
    wit: tuple[str, ...]
    typed: tuple[str, ...]
    json: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """What the HTTP server tells a process: a record of the contract, and a body in JSON."""

    name: str
    wit: str
    typed: tuple[str, ...]
    json: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was not done: an error in JSON, and a case of an error of the contract. Where one form cannot
    meet it, `alone` says why.
    """

    json_name: str | None
    wit: str | None
    typed: tuple[str, ...] = ()
    json: tuple[str, ...] = ()
    alone: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """What holds for clients, whatever their process speaks."""

    what: str
    tests: tuple[str, ...]


def _both(*functions: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Tests of `test_http_protocol.py`, each of which is run for both forms."""
    return (
        tuple(f"{PROTOCOL}::{name}[typed]" for name in functions),
        tuple(f"{PROTOCOL}::{name}[json]" for name in functions),
    )


_TYPES, _WRONG = (
    "test_every_message_type_is_pushed",
    ("test_what_is_wrong_with_a_push_is_said_and_costs_the_channel_nothing"),
)
_MANY = "test_one_push_reaches_many_channels_and_names_those_it_does_not"
_WS, _EXT = (
    "test_a_websocket_path_is_bound_as_it_says_and_unbound",
    ("test_an_extensions_path_takes_programs_on_this_machine_alone"),
)
_SECURE = "test_what_is_bound_as_secure_is_on_the_own_sub_domain_alone"
_HTTP = "test_a_path_is_bound_to_requests_and_the_process_answers_them"
_STATIC, _UI = (
    "test_content_is_served_without_asking_the_process",
    ("test_the_files_of_the_package_are_served_in_one_call"),
)
_CLOSE = "test_a_process_closes_its_channel_once"
_MALFORMED = f"{JSON}::test_what_makes_no_sense_is_malformed_and_harms_nothing"
_ALONE = f"{JSON}::test_errors_that_calls_of_the_contract_cannot_have_are_said"

ACTIONS: Final = (
    Action(
        "WebSocketPush",
        ("channel_id", "message_type"),
        ("send-ws-push", "send-ws-text", "send-ws-push-waiting"),
        (
            *_both(_TYPES, _WRONG)[0],
            f"{POLICIES}::test_a_push_that_waits_loses_nothing[wait-ChannelNotFound]",
        ),
        (
            *_both(_TYPES, _WRONG)[1],
            f"{POLICIES}::test_a_push_that_waits_loses_nothing[wait_json-WsChannelNotFound]",
        ),
    ),
    Action("WebSocketClose", (), ("close-channel",), *_both(_CLOSE)),
    Action(
        "WebSocketPushMany",
        ("channel_ids", "message_type"),
        ("send-ws-push-many", "send-ws-text-many", "close-channels"),
        *_both(_MANY),
    ),
    Action(
        "WebSocketPushPath",
        ("path", "message_type"),
        ("send-ws-push-to-path", "send-ws-text-to-path"),
        *_both(_MANY),
    ),
    Action(
        "WebSocketPolicy",
        ("channel_id", "policy"),
        ("set-channel-policy",),
        (f"{POLICIES}::test_each_policy_does_what_it_says[typed]", *_both(_WRONG, _CLOSE)[0]),
        (f"{POLICIES}::test_each_policy_does_what_it_says[json]", *_both(_WRONG, _CLOSE)[1]),
    ),
    Action(
        "WebSocketPresence",
        ("wanted",),
        (),
        (f"{ROOMS}::test_members_hear_who_is_away_and_back_also_after_a_restart",),
        (f"{UNIT}/test_presence.py::test_a_process_that_asked_is_told_who_is_away_and_back",),
    ),
    Action(
        "WebSocketExtPushOutgoing",
        ("channel_id", "message_type", "desired_reply_type"),
        ("send-ws-extension-push",),
        (f"{EXTENSION}::test_an_extension_is_asked_and_told[typed]",),
        (f"{EXTENSION}::test_an_extension_is_asked_and_told[json]",),
    ),
    Action(
        "WebSocketBind",
        ("path", "authenticated", "encrypted", "extension", "subprotocols"),
        ("bind-ws-path",),
        *_both(_WS, _EXT),
    ),
    Action(
        "WebSocketSecureBind",
        ("path", "authenticated", "encrypted", "extension", "subprotocols"),
        ("bind-ws-path",),
        *_both(_SECURE),
    ),
    Action("WebSocketUnbind", ("path",), ("unbind-ws-path",), *_both(_WS)),
    Action(
        "Bind",
        ("path", "authenticated", "local_only", "cache", "response_seconds"),
        ("bind-http-path", "bind-http-static-path"),
        *_both(_HTTP, _STATIC),
    ),
    Action(
        "SecureBind",
        ("path", "authenticated", "local_only", "cache", "response_seconds"),
        ("bind-http-path", "bind-http-static-path"),
        *_both(_SECURE),
    ),
    Action("Unbind", ("path",), ("unbind-http-path",), *_both(_HTTP, _STATIC, _UI)),
    Action("ServeUi", ("path", "authenticated", "local_only", "secure"), ("serve-ui",), *_both(_UI)),
)

_GAME_RUNS = f"{KINODE}::test_a_game_runs_as_it_is"
_GAME_HEARS = f"{KINODE}::test_a_game_hears_of_its_channels_in_json"
_GAME_HTTP = f"{KINODE}::test_a_game_answers_http"

EVENTS: Final = (
    Event(
        "WebSocketOpen",
        "web-socket-open",
        (
            _both(_WS)[0][0],
            f"{CHANNELS}::test_a_bound_path_delivers_its_parameters_and_those_of_the_query",
            f"{WORKER}/test_channels.py::test_an_opening_reaches_the_guest_whole",
        ),
        (
            _GAME_RUNS,
            _GAME_HEARS,
            f"{KINODE}::test_a_game_that_crashes_goes_on_with_its_state_and_its_channels",
        ),
    ),
    Event(
        "WebSocketPush",
        "web-socket-push",
        (f"{CHANNELS}::test_all_five_message_types_go_both_ways",),
        (_GAME_HEARS, f"{WORKER}/test_kinode.py::test_a_push_says_its_type_by_name"),
    ),
    Event(
        "WebSocketClose",
        "web-socket-close",
        (f"{CHANNELS}::test_a_close_of_the_client_reaches_the_process_once_and_is_answered",),
        (_GAME_HEARS,),
    ),
    Event(
        "Http",
        "http",
        (_both(_HTTP)[0][0], f"{HANDED_ON}::test_the_response_of_the_last_process_is_the_answer"),
        (_both(_HTTP)[1][0], _GAME_HTTP),
    ),
)

_FULL_TYPED = f"{POLICIES}::test_each_policy_does_what_it_says[typed]"
_FULL_JSON = f"{POLICIES}::test_each_policy_does_what_it_says[json]"

REFUSALS: Final = (
    Refusal("WsChannelNotFound", "push-error.channel-not-found", *_both(_WRONG)),
    Refusal("WsChannelFull", "push-error.channel-full", (_FULL_TYPED,), (_FULL_JSON,)),
    Refusal("WsPingPongTooLong", "push-error.ping-pong-too-long", *_both(_WRONG)),
    Refusal("WsTextNotUtf8", "push-error.not-utf8", *_both(_WRONG)),
    Refusal("WsMessageTooBig", "push-error.too-big", *_both(_WRONG, _MANY)),
    Refusal(
        None,
        "push-error.node-unreachable",
        (f"{WORKER}/test_channels.py::test_a_push_to_another_node_is_refused",),
        ("tests/e2e/test_seed_chat.py::test_a_message_for_another_node_is_not_shown_as_sent",),
        "a request in JSON to another node comes back as the send error `offline`",
    ),
    Refusal("WsBadClose", "push-error.bad-close", *_both(_WRONG)),
    Refusal(
        None,
        "close-error.channel-not-found",
        _both(_CLOSE)[0],
        (f"{UNIT}/test_json_form.py::test_closing_what_is_not_there_is_done_whoever_asks",),
        "a request in JSON to close a channel that is not there is answered with `Ok`",
    ),
    Refusal(
        "WsBadClose",
        "close-error.bad-code",
        (f"{WORKER}/test_channels.py::test_a_close_that_no_endpoint_may_send_is_refused",),
        (_both(_WRONG)[1][0],),
    ),
    Refusal(
        "WsPingPongTooLong",
        "close-error.reason-too-long",
        (f"{WORKER}/test_channels.py::test_a_close_that_no_endpoint_may_send_is_refused",),
        (_both(_WRONG)[1][0],),
    ),
    Refusal("BadPath", "bind-error.bad-path", *_both(_WS, _HTTP, _UI)),
    Refusal("TooManyBindings", "bind-error.too-many", *_both(_WS, _HTTP, _STATIC, _UI)),
    Refusal("NoSubdomain", "bind-error.no-subdomain", *_both(_SECURE)),
    Refusal("BadSubprotocol", "bind-error.bad-subprotocol", *_both(_WS)),
    Refusal("NoUi", "bind-error.no-ui", *_both(_UI)),
    Refusal(
        None,
        "bind-error.not-authorised",
        (f"{CAPABILITIES}::test_what_every_process_has_can_be_given_up_and_is_missed_then",),
        (f"{CAPABILITIES}::test_what_every_process_has_can_be_given_up_and_is_missed_then",),
        "a request in JSON that may not be sent comes back as the send error `not-authorised`",
    ),
    Refusal(
        "MalformedRequest",
        None,
        (),
        (_MALFORMED, f"{UNIT}/test_json_form.py::test_a_request_of_another_shape_is_malformed"),
        "a call of the contract has the types it has",
    ),
    Refusal("NoBlob", None, (), (_ALONE,), "a call of the contract has its payload as an argument"),
    Refusal(
        "InvalidSourceProcess",
        None,
        (),
        (f"{UNIT}/test_json_form.py::test_a_process_of_another_node_is_refused",),
        "the contract's calls are of this node's own processes",
    ),
)

ANSWERS: Final = (
    Line("`{Ok: null}` or `{Err}`, when a response is wanted", (_both(_TYPES)[1][0],)),
    Line(
        "without a wish for a response only what went wrong is told",
        (f"{JSON}::test_who_wants_no_response_is_told_only_what_went_wrong",),
    ),
    Line(
        "`send-http-response`, with several Set-Cookie",
        (_both(_HTTP)[0][0], f"{UNIT}/test_http_more.py::test_an_answer_may_set_several_cookies"),
    ),
    Line(
        "`{status, headers}` with the blob as body, with several Set-Cookie",
        (
            _both(_HTTP)[1][0],
            _GAME_HTTP,
            f"{UNIT}/test_http_handed_on.py::test_a_header_in_json_may_have_several_values",
        ),
    ),
    Line(
        "unanswered: 408, by the node, the binding and the request",
        (
            f"{UNIT}/test_http.py::test_an_unanswered_request_gets_408_and_a_late_answer_is_logged",
            f"{UNIT}/test_http_more.py::test_a_binding_can_say_how_long_its_process_takes",
            f"{UNIT}/test_http_more.py::test_a_request_can_say_how_long_it_waits",
            f"{POLICIES}::test_an_http_binding_has_a_time_of_its_own",
        ),
    ),
    Line(
        "a bad answer: 500; none any more: 503",
        (
            f"{UNIT}/test_http.py::test_an_answer_that_http_does_not_allow_becomes_500",
            f"{WORKER}/test_calls.py::test_an_answer_in_json_that_makes_no_sense_is_a_500",
            f"{UNIT}/test_http.py::test_a_process_that_ends_answers_503_at_once",
        ),
    ),
    Line(
        "a request that is handed on (inherit, no response expected)",
        (f"{HANDED_ON}::test_the_response_of_the_last_process_is_the_answer", _GAME_HTTP),
    ),
    Line(
        "older names of the HTTP server",
        (
            f"{WORKER}/test_kinode.py::test_an_event_comes_from_the_http_server_by_the_name_that_the_process_uses",
        ),
    ),
)

CLIENTS: Final = (
    Line(
        "form 1: register on `/`, as text or binary",
        (
            f"{UNIT}/test_register.py::test_a_register_message_opens_a_channel_and_is_answered_with_its_id",
            f"{CHANNELS}::test_a_register_message_may_be_binary",
            _GAME_RUNS,
        ),
    ),
    Line("`encrypted` may be absent", (f"{UNIT}/test_register.py::test_encrypted_may_be_absent",)),
    Line(
        "every failure to register has its code and reason",
        (f"{UNIT}/test_register.py::test_every_refusal_has_its_code_and_leaves_no_channel",),
    ),
    Line(
        "form 2: a bound path, with the cookie when it is authenticated",
        (f"{CHANNELS}::test_an_authenticated_path_wants_the_cookie_and_its_own_origin", *_both(_WS)[0]),
    ),
    Line(
        "`@kinode/client-api`, and the simple example",
        (
            "tests/e2e/test_browser.py::test_the_kinode_client_library_talks_to_a_process",
            "tests/e2e/test_browser.py::test_the_simple_example_talks_to_echo_and_to_chat",
        ),
    ),
    Line(
        "the extension framing, in MessagePack and CBOR",
        (
            f"{EXTENSION}::test_what_an_extension_asks_is_a_request_and_its_answer_has_the_same_id[msgpack]",
            f"{EXTENSION}::test_what_an_extension_asks_is_a_request_and_its_answer_has_the_same_id[cbor]",
            "tests/e2e/test_http_extension.py::"
            "test_a_side_car_does_what_a_component_cannot_and_returns_after_a_restart_of_the_node",
        ),
    ),
    Line(
        "encrypted channels",
        (
            "tests/e2e/test_register.py::test_an_encrypted_channel_carries_what_only_its_two_ends_can_read",
            f"{UNIT}/test_encrypted.py::test_what_is_not_encrypted_right_ends_the_channel_and_is_not_delivered",
            f"{UNIT}/test_encrypted.py::test_a_replay_ends_the_channel",
        ),
    ),
    Line(
        "`/login`, its cookie and its claims",
        (
            f"{UNIT}/test_login.py::test_the_password_logs_in_as_kinodes_client_does",
            f"{UNIT}/test_login.py::test_logging_in_goes_to_paths_of_this_node_only",
            "tests/e2e/test_browser.py::test_a_password_opens_the_pages_and_a_wrong_one_does_not",
        ),
    ),
    Line(
        "a sub-domain of its own",
        (
            "tests/e2e/test_subdomains.py::"
            "test_a_sub_domain_has_its_own_login_its_own_cookie_and_the_only_way_to_what_is_secure",
        ),
    ),
    Line("`/our.js`", (f"{UNIT}/test_login.py::test_our_js_tells_a_page_who_it_is",)),
    Line(
        "`/rpc:distro:sys/message`, for programs on this machine",
        (
            f"{UNIT}/test_tokens.py::test_a_program_here_sends_a_message_and_gets_the_answer",
            f"{UNIT}/test_tokens.py::test_neither_proxies_nor_pages_send_messages",
        ),
    ),
    Line(
        "a guest that stops receiving makes only its own clients wait",
        (
            f"{BACKPRESSURE}::test_one_gibibyte_for_a_guest_that_takes_none_costs_no_memory_and_nobody_else_waits",
        ),
    ),
)
