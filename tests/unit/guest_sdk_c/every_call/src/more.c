/* Pushes to many, waiting pushes, extensions, bindings with all that they can be, capabilities, children, on-exit. */
#include "lines.h"

static void print_refusals(const char *what, gh_refusals refused) {
    add_text(what);
    for (size_t i = 0; i < refused.len; i++) {
        add_text(" ");
        add_number(refused.ptr[i].channel_id);
        add_text(":");
        add_number(refused.ptr[i].error);
    }
    print();
}

static void print_capabilities(const char *what, gh_capabilities held) {
    add_text(what);
    for (size_t i = 0; i < held.len; i++) {
        add_text(" ");
        add(held.ptr[i].params);
        add_text(" of ");
        add_address(held.ptr[i].issuer);
    }
    print();
}

static void push_to_many(uint32_t channel_id) {
    uint32_t ids[] = {999, channel_id};
    gh_lazy_load_blob blob = a_blob();
    print_refusals("many", gh_send_ws_text_many(ids, 2, gh_text("to all")));
    print_refusals("many", gh_send_ws_push_many(ids, 2, GH_BINARY, &blob));
    print_refusals("path", gh_send_ws_text_to_path(gh_text("/"), gh_text("to the path")));
    print_refusals("path", gh_send_ws_push_to_path(gh_text("/"), GH_BINARY, &blob));
}

static void close_many(uint32_t channel_id) {
    uint32_t ids[] = {999, channel_id, channel_id};
    print_refusals("unclosed", gh_close_channels(ids, 3, 1005, gh_text("no such code")));
    print_refusals("unclosed", gh_close_channels(ids, 3, 4000, gh_text("bye")));
}

static void push_and_wait(uint32_t channel_id) {
    gh_lazy_load_blob blob = a_blob();
    print_code("policy", gh_set_channel_policy(channel_id, GH_POLICY_WAIT));
    print_code("policy", gh_set_channel_policy(channel_id, GH_POLICY_REFUSE));
    print_code("policy", gh_set_channel_policy(channel_id, GH_POLICY_DROP_OLDEST));
    print_code("policy", gh_set_channel_policy(999, GH_POLICY_CLOSE));
    print_code("waiting", gh_send_ws_push_waiting(channel_id, GH_TEXT, &blob));
    print_code("waiting", gh_send_ws_push_waiting(999, GH_BINARY, &blob));
}

static void extension(uint32_t channel_id, gh_option_u32 seconds) {
    gh_lazy_load_blob blob = a_blob();
    gh_option_blob answer = {.some = false};
    int code = gh_send_ws_extension_push(channel_id, &blob, seconds, &answer);
    if (answer.some) {
        add_text("answer ");
        add_bytes(answer.value.bytes);
        print();
    }
    print_code("extension", code);
}

static void bindings(void) {
    gh_string spoken[] = {gh_text("v2"), gh_text("v1")};
    gh_ws_binding ws = {.secure = true, .extension = true, .subprotocols = spoken, .subprotocols_len = 2};
    gh_http_binding http = {.local_only = true, .response_seconds = {true, 9}};
    gh_lazy_load_blob content = a_blob();
    print_code("ws as", gh_bind_ws_path_as(gh_text("/live"), &ws));
    print_code("http as", gh_bind_http_path_as(gh_text("/page"), &http));
    print_code("static", gh_bind_http_static_path(gh_text("/static"), &(gh_http_binding){.secure = true}, &content));
    print_code("ui", gh_serve_ui(gh_text("/ui"), &(gh_http_binding){.authenticated = true}));
    print_missing();
}

static void capabilities(void) {
    gh_capability mine[] = {{gh_our(), gh_text("\"mine\"")}, {*friend(), gh_text("1")}};
    gh_save_capabilities((gh_capabilities){mine, 2});
    gh_drop_capabilities((gh_capabilities){mine + 1, 1});
    print_capabilities("ours", gh_our_capabilities());
}

static void leave(void) {
    gh_lazy_load_blob blob = a_blob();
    gh_last_request last[] = {
        {*friend(), a_request(3), {true, blob}},
        {gh_module("kv"), {.body = bytes_of("{}")}, {.some = false}},
    };
    print_code("exit", gh_get_on_exit().kind);
    gh_set_on_exit(&(gh_on_exit){GH_EXIT_RESTART, NULL, 0});
    print_code("exit", gh_get_on_exit().kind);
    gh_set_on_exit(&(gh_on_exit){GH_EXIT_REQUESTS, last, 2});
    gh_on_exit now = gh_get_on_exit();
    add_number(now.kind);
    add_text(" ");
    add_number(now.len);
    add_text(" ");
    add_bytes(now.requests[0].blob.value.bytes);
    add_text(" ");
    add_address(now.requests[1].target);
    print();
}

static void spawn(void) {
    gh_capability mine = {gh_our(), gh_text("\"mine\"")};
    gh_process_id child, neighbour = friend()->process;
    gh_child plain = {.wasm_path = gh_text("/child.wasm")};
    gh_child whole = {
        .name = {true, gh_text("kid")},
        .wasm_path = gh_text("/child.wasm"),
        .on_exit = {GH_EXIT_RESTART, NULL, 0},
        .request_capabilities = {&mine, 1},
        .grant_capabilities = {&neighbour, 1},
        .is_public = true,
    };
    for (int i = 0; i < 5; i++) {
        int code = gh_spawn(i == 0 ? &plain : &whole, &child);
        if (code == GH_OK) {
            add(child.process_name);
            add_text(":");
            add(child.package_name);
            add_text(":");
            add(child.publisher_node);
            print();
        } else {
            print_code("spawn", code);
            print_missing();
        }
    }
}

static void several(void) {
    gh_lazy_load_blob blob = a_blob();
    gh_sending both[] = {
        {*friend(), a_request(5), {true, bytes_of("a context")}, {true, blob}},
        {gh_module("timer"), {.body = bytes_of("told")}, {.some = false}, {.some = false}},
    };
    gh_send_requests(both, 2);
}

static void receive_pushes(void) {
    for (;;) {
        gh_option_ws_push push = gh_receive_ws_push();
        if (!push.some)
            break; /* what else came is left to the loop */
        add_number(push.channel_id);
        add_text(push.text.some ? " text " : " bytes ");
        if (push.text.some)
            add(push.text.value);
        if (push.bytes.some)
            add_bytes(push.bytes.value);
        add_text(gh_has_blob() ? " blob" : " no blob");
        print();
    }
    add_text("no push");
    print();
}

static void tracing(uint32_t channel_id) {
    gh_attribute given[] = {
        {gh_text("a text"), {GH_ATTRIBUTE_TEXT, .text = gh_text("é")}},
        {gh_text("an integer"), {GH_ATTRIBUTE_INTEGER, .integer = -5000000000}},
        {gh_text("a number"), {GH_ATTRIBUTE_NUMBER, .number = 0.5}},
        {gh_text("a truth"), {GH_ATTRIBUTE_TRUTH, .truth = true}},
    };
    gh_option_string none = {.some = false}, failed = {true, gh_text("it failed")};
    uint32_t outer = gh_start_span(gh_text("outer")), inner = gh_start_span(gh_text("inner"));
    gh_set_attributes(inner, given, 4);
    gh_add_event(inner, gh_text("an event"), given, 1);
    gh_option_string context = gh_traceparent();
    gh_send_ws_text(channel_id, context.some ? context.value : gh_text("untraced"));
    gh_end_span(inner, failed);
    gh_end_span(outer, none);
    gh_set_attributes(0, given + 1, 1);
    gh_add_event(0, gh_text("the end"), NULL, 0);
}

static void parse(void) {
    static const char *const texts[] = {"a.os@p:k:q.os", "p:k:q.os", "a.os@p", "@p:k:q:r", ""};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        add_address(gh_parse_address(gh_text(texts[i])));
        add_text(" ");
    }
    print();
}

static void compare(void) {
    gh_string whole = gh_text("abcabdabc");
    for (size_t at = 0; at < whole.len; at += 3) {
        int found = __builtin_memcmp(whole.ptr, whole.ptr + at, whole.len / 3);
        add_text(found < 0 ? "<" : found > 0 ? ">" : "=");
    }
    print();
}

static void cut(void) {
    gh_string rest = gh_text("a,bc,,d");
    for (int i = 0; i < 6; i++) {
        add_text("<");
        gh_string part = gh_cut(&rest, ',');
        add_bytes((gh_bytes){(const uint8_t *)part.ptr, part.len});
        add_text(">");
    }
    print();
}

bool more(uint32_t channel_id, gh_string command) {
    if (gh_same(command, gh_text("many")))
        push_to_many(channel_id);
    else if (gh_same(command, gh_text("close many")))
        close_many(channel_id);
    else if (gh_same(command, gh_text("waiting")))
        push_and_wait(channel_id);
    else if (gh_same(command, gh_text("extension ask")))
        extension(channel_id, (gh_option_u32){true, 5});
    else if (gh_same(command, gh_text("extension tell")))
        extension(channel_id, (gh_option_u32){.some = false});
    else if (gh_same(command, gh_text("bindings as")))
        bindings();
    else if (gh_same(command, gh_text("capabilities")))
        capabilities();
    else if (gh_same(command, gh_text("leave")))
        leave();
    else if (gh_same(command, gh_text("spawn")))
        spawn();
    else if (gh_same(command, gh_text("several")))
        several();
    else if (gh_same(command, gh_text("receive pushes")))
        receive_pushes();
    else if (gh_same(command, gh_text("tracing")))
        tracing(channel_id);
    else if (gh_same(command, gh_text("parse")))
        parse();
    else if (gh_same(command, gh_text("compare")))
        compare();
    else if (gh_same(command, gh_text("cut")))
        cut();
    else if (gh_same(command, gh_text("trap")))
        __builtin_trap();
    else if (gh_same(command, gh_text("last"))) {
        add_bytes(gh_last_blob().value.bytes);
        print();
    } else
        return false;
    return true;
}
