/* Counted traffic between processes, told to the client that connected last. The client says
 *
 *   note NUMBER SIZE TARGET           send a request that wants no response
 *   ask NUMBER SECONDS SIZE TARGET    send one that does, and do not wait for it
 *   push CHANNEL NUMBER NODE          push the number to a channel of this process on a node
 *   say TEXT                          say TEXT
 *
 * and hears, in the order in which it happened
 *
 *   got NUMBER SOURCE                 a request came, with its payload whole; it is answered, if it wants that
 *   torn NUMBER SOURCE                the same, with a payload that is not what was sent
 *   answered NUMBER TARGET            the response to a request came
 *   failed NUMBER TARGET KIND         or its failure
 *
 * SIZE bytes of payload, each the number's last byte, go with a request. What happens while no client is there is not
 * told. */
#include "guesthouse.h"

enum { LARGEST = 1 << 20 };

static const char *const KINDS[] = {"offline", "timeout", "no-such-process", "mailbox-full", "not-authorised"};
static uint8_t payload[LARGEST];
static uint32_t client;
static bool connected;

static gh_string up_to(gh_string *text, char end) {
    size_t len = 0;
    while (len < text->len && text->ptr[len] != end)
        len++;
    gh_string part = {text->ptr, len};
    size_t after = len < text->len ? len + 1 : len;
    text->ptr += after;
    text->len -= after;
    return part;
}

static uint32_t number(gh_string digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits.len; i++)
        value = 10 * value + (uint32_t)(digits.ptr[i] - '0');
    return value;
}

/* The words that are there, with spaces between them. */
static void tell(const gh_string *words, size_t count) {
    static char line[512];
    size_t used = 0;
    if (!connected)
        return;
    for (size_t i = 0; i < count; i++) {
        if (used + words[i].len + 1 > sizeof line)
            __builtin_trap();
        if (i)
            line[used++] = ' ';
        __builtin_memcpy(line + used, words[i].ptr, words[i].len);
        used += words[i].len;
    }
    if (gh_send_ws_text(client, (gh_string){line, used}) == GH_PUSH_CHANNEL_FULL)
        gh_print(GH_ERROR, gh_text("the client reads too slowly: it was not told everything"));
}

static gh_string text_of(gh_bytes bytes) { return (gh_string){(const char *)bytes.ptr, bytes.len}; }

static void send(gh_string rest, bool ask) {
    gh_string digits = up_to(&rest, ' ');
    gh_option_u64 seconds = {ask, 0};
    if (ask)
        seconds.value = number(up_to(&rest, ' '));
    gh_lazy_load_blob blob = {.bytes = {payload, number(up_to(&rest, ' '))}};
    if (blob.bytes.len > LARGEST)
        __builtin_trap();
    __builtin_memset(payload, (int)(number(digits) & 255), blob.bytes.len);
    /* What comes back with a response or failure: the number and the target. */
    static char context[256];
    if (digits.len + 1 + rest.len > sizeof context)
        __builtin_trap();
    __builtin_memcpy(context, digits.ptr, digits.len);
    context[digits.len] = ' ';
    __builtin_memcpy(context + digits.len + 1, rest.ptr, rest.len);
    gh_bytes kept = {(const uint8_t *)context, digits.len + 1 + rest.len};
    gh_address target = gh_parse_address(rest);
    gh_request request = {.expects_response = seconds, .body = {(const uint8_t *)digits.ptr, digits.len}};
    gh_send_request(&target, &request, &kept, blob.bytes.len ? &blob : NULL);
}

static void push(gh_string rest) {
    uint32_t channel = number(up_to(&rest, ' '));
    gh_string digits = up_to(&rest, ' ');
    gh_lazy_load_blob blob = {.bytes = {(const uint8_t *)digits.ptr, digits.len}};
    gh_send_ws_push(rest, channel, GH_TEXT, &blob);
}

static void obey(void) {
    gh_option_string text = gh_get_blob_text();
    if (!text.some)
        return;
    gh_string rest = text.value, word = up_to(&rest, ' ');
    if (gh_same(word, gh_text("note")) || gh_same(word, gh_text("ask")))
        send(rest, gh_same(word, gh_text("ask")));
    else if (gh_same(word, gh_text("push")))
        push(rest);
    else if (gh_same(word, gh_text("say")))
        tell(&rest, 1);
}

static bool whole(gh_string digits) {
    if (!gh_has_blob())
        return true;
    gh_option_blob blob = gh_get_blob();
    uint8_t byte = (uint8_t)(number(digits) & 255);
    for (size_t i = 0; i < blob.value.bytes.len; i++)
        if (blob.value.bytes.ptr[i] != byte)
            return false;
    return true;
}

static void take(const gh_incoming_request *incoming) {
    gh_string digits = text_of(incoming->request.body);
    gh_address from = incoming->source;
    static char source[256];
    size_t used = 0;
    gh_string parts[] = {from.node,         gh_text("@"), from.process.process_name,  gh_text(":"),
                         from.process.package_name, gh_text(":"), from.process.publisher_node};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (used + parts[i].len > sizeof source)
            __builtin_trap();
        __builtin_memcpy(source + used, parts[i].ptr, parts[i].len);
        used += parts[i].len;
    }
    gh_string words[] = {gh_text(whole(digits) ? "got" : "torn"), digits, {source, used}};
    tell(words, 3);
    if (incoming->request.expects_response.some) {
        gh_response response = {.body = incoming->request.body};
        gh_send_response(&response, NULL);
    }
}

static void fail(const gh_send_failure *failure) {
    gh_string words[] = {gh_text("failed"), text_of(failure->context.value),
                         gh_text(KINDS[failure->error.kind])};
    tell(words, 3);
}

void gh_run(const gh_address *our) {
    (void)our;
    for (;;) {
        const gh_received *received = gh_receive();
        const gh_message *message = &received->message;
        if (received->failed)
            fail(&received->failure);
        else if (message->kind == GH_REQUEST)
            take(&message->request);
        else if (message->kind == GH_RESPONSE) {
            gh_string words[] = {gh_text("answered"), text_of(message->response.context.value)};
            tell(words, 2);
        } else if (message->http_server.kind == GH_WEB_SOCKET_OPEN) {
            client = message->http_server.open.channel_id;
            connected = true;
        } else if (message->http_server.kind == GH_WEB_SOCKET_PUSH)
            obey();
        else if (message->http_server.kind == GH_WEB_SOCKET_CLOSE && message->http_server.closed == client)
            connected = false;
    }
}
