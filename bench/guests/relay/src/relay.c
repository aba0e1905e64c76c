/* Text of a client:
 *
 *   lend ID TARGET     gives TARGET the capability to push to channel ID of this process
 *   push NODE ID TEXT  pushes TEXT to a channel of a node: of this process, or one that it was lent
 *   ask TARGET TEXT    asks TARGET, which answers, and tells the client the answer
 *
 * Everything else comes back. TARGET is `node@process:package:publisher`. */
#include "guesthouse.h"

static uint32_t number(gh_string digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits.len; i++)
        value = 10 * value + (uint32_t)(digits.ptr[i] - '0');
    return value;
}

static gh_bytes bytes_of(gh_string text) { return (gh_bytes){(const uint8_t *)text.ptr, text.len}; }

static void lend(const gh_address *our, gh_string rest) {
    static char params[64] = "{\"channel\":";
    size_t used = 11;
    gh_string id = gh_cut(&rest, ' ');
    if (id.len > sizeof params - used - 1)
        return;
    __builtin_memcpy(params + used, id.ptr, id.len);
    used += id.len;
    params[used++] = '}';
    gh_capability given = {*our, {params, used}};
    gh_address target = gh_parse_address(rest);
    gh_request request = {.body = bytes_of(gh_text("lent")), .capabilities = {&given, 1}};
    gh_send_request(&target, &request, NULL, NULL);
}

static void push(gh_string rest) {
    gh_string node = gh_cut(&rest, ' ');
    uint32_t channel = number(gh_cut(&rest, ' '));
    gh_lazy_load_blob blob = {.bytes = bytes_of(rest)};
    gh_send_ws_push(node, channel, GH_TEXT, &blob);
}

static void ask(uint32_t channel, gh_string rest) {
    gh_address target = gh_parse_address(gh_cut(&rest, ' '));
    gh_request request = {.expects_response = {true, 10}, .body = bytes_of(rest)};
    const gh_answer *came = gh_send_and_await_response(&target, &request, NULL);
    if (came->failed) {
        gh_send_ws_text(channel, gh_text("failed"));
        return;
    }
    gh_bytes body = came->message.response.response.body;
    gh_send_ws_text(channel, (gh_string){(const char *)body.ptr, body.len});
}

static void obey(const gh_address *our, uint32_t channel) {
    gh_option_string text = gh_get_blob_text();
    if (!text.some)
        return;
    gh_string rest = text.value, word = gh_cut(&rest, ' ');
    if (gh_same(word, gh_text("lend")))
        lend(our, rest);
    else if (gh_same(word, gh_text("push")))
        push(rest);
    else if (gh_same(word, gh_text("ask")))
        ask(channel, rest);
    else
        gh_send_ws_text(channel, text.value);
}

void gh_run(const gh_address *our) {
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed)
            continue;
        const gh_message *message = &received->message;
        if (message->kind == GH_REQUEST) {
            const gh_request *request = &message->request.request;
            if (request->capabilities.len)
                gh_save_capabilities(request->capabilities);
            if (request->expects_response.some) {
                gh_response response = {.body = request->body};
                gh_send_response(&response, NULL);
            }
        } else if (message->kind == GH_HTTP_SERVER && message->http_server.kind == GH_WEB_SOCKET_PUSH)
            obey(our, message->http_server.push.channel_id);
    }
}
