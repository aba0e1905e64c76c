/* `front` asks `back` for what its clients tell it to, and both add to the trace. */
#include "guesthouse.h"

static gh_address back;
static uint32_t channel;

static gh_bytes bytes_of(const char *text) {
    gh_string it = gh_text(text);
    return (gh_bytes){(uint8_t *)it.ptr, it.len};
}

static void say(gh_string text) { gh_send_ws_text(channel, text); }

/* Waits for the answer, in a span of its own. */
static void ask(void) {
    gh_attribute given[] = {
        {gh_text("question"), {GH_ATTRIBUTE_TEXT, .text = gh_text("why?")}},
        {gh_text("tries"), {GH_ATTRIBUTE_INTEGER, .integer = 1}},
    };
    gh_request request = {.expects_response = {true, 20}, .body = bytes_of("now")};
    uint32_t span = gh_start_span(gh_text("thinking"));
    gh_set_attributes(span, given, 2);
    const gh_answer *answer = gh_send_and_await_response(&back, &request, NULL);
    gh_add_event(span, gh_text("thought"), NULL, 0);
    gh_end_span(span, (gh_option_string){answer->failed, gh_text("no answer")});
    gh_print(GH_INFO, gh_text("asked"));
    say(gh_text("asked"));
}

/* More than may be kept, of everything. */
static void flood(void) {
    static char long_text[60000];
    for (size_t i = 0; i < sizeof long_text; i++)
        long_text[i] = 'x';
    gh_attribute given[200];
    for (int i = 0; i < 200; i++)
        given[i] = (gh_attribute){{long_text, 1000}, {GH_ATTRIBUTE_TEXT, .text = {long_text, 3000}}};
    for (int i = 0; i < 1000; i++) {
        uint32_t span = gh_start_span((gh_string){long_text, 1000});
        gh_set_attributes(span, given, i % 2);
        gh_add_event(span, (gh_string){long_text, 1000}, given, 1);
        if (i % 3 == 0)
            gh_end_span(span, (gh_option_string){true, {long_text, 60000}});
        gh_end_span(4000000000u - i, (gh_option_string){.some = false});
    }
    gh_set_attributes(0, given, 200);
    say(gh_text("flooded"));
}

static void on_push(void) {
    gh_string text = gh_get_blob_text().value;
    if (gh_same(text, gh_text("ask")))
        ask();
    else if (gh_same(text, gh_text("tell"))) {
        gh_request request = {.expects_response = {true, 20}, .body = bytes_of("later")};
        gh_send_request(&back, &request, NULL, NULL);
    } else if (gh_same(text, gh_text("keep"))) {
        gh_address kv = gh_module("kv");
        gh_request request = {.expects_response = {true, 20}, .body = bytes_of("{\"Get\":{\"key\":\"a\"}}")};
        gh_send_request(&kv, &request, NULL, NULL);
    } else if (gh_same(text, gh_text("nobody"))) {
        gh_address nobody = back;
        nobody.process.process_name = gh_text("nobody");
        gh_send_request(&nobody, &(gh_request){.body = bytes_of("hello?")}, NULL, NULL);
    } else if (gh_same(text, gh_text("flood")))
        flood();
    else if (gh_same(text, gh_text("trap")))
        __builtin_trap();
    else {
        gh_option_string context = gh_traceparent();
        say(context.some ? context.value : gh_text("untraced"));
    }
}

static void on_http_server(const gh_http_server_request *event) {
    if (event->kind == GH_WEB_SOCKET_OPEN) {
        channel = event->open.channel_id;
    } else if (event->kind == GH_WEB_SOCKET_PUSH) {
        channel = event->push.channel_id;
        on_push();
    } else if (event->kind == GH_HTTP) {
        gh_option_string context = gh_traceparent();
        gh_string said = context.some ? context.value : gh_text("untraced");
        gh_lazy_load_blob body = {.bytes = {(uint8_t *)said.ptr, said.len}};
        gh_send_http_response(200, (gh_pairs){NULL, 0}, &body);
    }
}

void gh_run(const gh_address *our) {
    back = *our;
    back.process.process_name = gh_text("back");
    if (gh_same(our->process.process_name, gh_text("front"))) {
        gh_bind_ws_path(gh_text("/"), false);
        gh_bind_http_path(gh_text("/page/:name"), false, false);
    }
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed) {
            say(gh_text("failed"));
            continue;
        }
        const gh_message *message = &received->message;
        if (message->kind == GH_HTTP_SERVER) {
            on_http_server(&message->http_server);
        } else if (message->kind == GH_RESPONSE) {
            say(gh_text("told"));
        } else if (message->request.request.expects_response.some) {
            uint32_t span = gh_start_span(gh_text("answering"));
            gh_send_response(&(gh_response){.body = bytes_of("because")}, NULL);
            gh_end_span(span, (gh_option_string){.some = false});
        }
    }
}
