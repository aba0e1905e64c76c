/* A process that attacks with calls that are all well formed: too many of them, or with what is not its own. It
 * answers each request with what came of it.
 *
 *   spawn COUNT                    `STARTED REFUSED`
 *   chatter COUNT                  lines in the log; `done`
 *   flood CHANNEL COUNT            pushes of 64 KiB; how many were taken
 *   everyone COUNT                 pushes of 4 KiB to all its channels; how many were refused
 *   guess FROM COUNT               pushes to and closes channels by number; how many of them it reached
 *   pester TARGET COUNT            requests of 16 KiB that want no response; `done`
 *   interrupt COUNT                responses that nobody asked for; `done`
 *   forge ISSUER PARAMS            keeps a capability that it made up, and spawns; `STARTED REFUSED`
 *   send TARGET BODY               the body of the response, or `failed` */
#include "guesthouse.h"

#define PAGE 65536
#define MOST_CHANNELS 1024
#define IMPORT(interface, function) __attribute__((import_module(interface), import_name(function)))

typedef struct {
    bool failed;
    union {
        gh_process_id process;
        uint8_t refusal;
    };
} spawned;

typedef struct {
    uint32_t *refused;
    size_t len;
} refusals;

IMPORT("guesthouse:process/spawning@0.1.0", "spawn")
void host_spawn(int has_name, const char *name, size_t name_len, const char *path, size_t path_len, int on_exit,
                const void *on_exit_requests, size_t on_exit_len, const gh_capability *requests,
                size_t requests_len, const gh_process_id *grants, size_t grants_len, int is_public,
                spawned *result);
IMPORT("guesthouse:process/capabilities@0.1.0", "save")
void host_save(const gh_capability *capabilities, size_t len);
IMPORT("guesthouse:process/http-server@0.1.0", "send-ws-text-many")
void host_send_ws_text_many(const uint32_t *channels, size_t len, const char *text, size_t text_len,
                            refusals *result);

static gh_string node;
static uint8_t noise[PAGE];
static uint32_t channels[MOST_CHANNELS];
static size_t channel_count;

static uint32_t number(gh_string *text) {
    uint32_t value = 0;
    gh_string digits = gh_cut(text, ' ');
    for (size_t i = 0; i < digits.len; i++)
        value = 10 * value + (uint32_t)(digits.ptr[i] - '0');
    return value;
}

static gh_bytes bytes_of(gh_string text) { return (gh_bytes){(const uint8_t *)text.ptr, text.len}; }

static void answer(gh_string text) {
    gh_response response = {.body = bytes_of(text)};
    gh_send_response(&response, NULL);
}

static size_t digits_of(uint32_t value, char *end) {
    size_t len = 0;
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
        len++;
    } while (value);
    return len;
}

static void answer_number(uint32_t value) {
    char text[10];
    size_t len = digits_of(value, text + sizeof text);
    answer((gh_string){text + sizeof text - len, len});
}

static void answer_two(uint32_t one, uint32_t other) {
    char text[21];
    size_t second = digits_of(other, text + sizeof text);
    char *at = text + sizeof text - second;
    *--at = ' ';
    size_t first = digits_of(one, at);
    answer((gh_string){at - first, first + 1 + second});
}

static void spawn(uint32_t count) {
    gh_string path = gh_text("/guest.wasm");
    uint32_t started = 0, refused = 0;
    while (count--) {
        size_t mark = gh_mark();
        spawned result;
        host_spawn(0, NULL, 0, path.ptr, path.len, 0, NULL, 0, NULL, 0, NULL, 0, 0, &result);
        result.failed ? refused++ : started++;
        gh_release(mark);
    }
    answer_two(started, refused);
}

static void forge(gh_string rest) {
    gh_address issuer = gh_parse_address(gh_cut(&rest, ' '));
    gh_capability made_up = {issuer, rest};
    host_save(&made_up, 1);
    spawn(1);
}

static void chatter(uint32_t count) {
    while (count--)
        gh_print(GH_ERROR, gh_text("look at me \x1b[2J\r\n\x07 and at me"));
    answer(gh_text("done"));
}

static void flood(uint32_t channel, uint32_t count) {
    gh_lazy_load_blob blob = {{.some = false}, {noise, sizeof noise}};
    uint32_t taken = 0;
    while (count--)
        taken += gh_send_ws_push(node, channel, GH_BINARY, &blob) == GH_OK;
    answer_number(taken);
}

static void everyone(uint32_t count) {
    static char text[4096];
    __builtin_memset(text, 'x', sizeof text);
    uint32_t refused = 0;
    while (count--) {
        size_t mark = gh_mark();
        refusals result;
        host_send_ws_text_many(channels, channel_count, text, sizeof text, &result);
        refused += (uint32_t)result.len;
        gh_release(mark);
    }
    answer_number(refused);
}

static void guess(uint32_t from, uint32_t count) {
    uint32_t reached = 0;
    for (uint32_t i = 0; i < count; i++) {
        reached += gh_send_ws_text(from + i, gh_text("not yours")) != GH_PUSH_CHANNEL_NOT_FOUND;
        reached += gh_close_channel(from + i, 1000, gh_text("not yours")) == GH_OK;
    }
    answer_number(reached);
}

static void pester(gh_string rest) {
    gh_address target = gh_parse_address(gh_cut(&rest, ' '));
    gh_request request = {.body = {noise, PAGE / 4}};
    for (uint32_t count = number(&rest); count--;)
        gh_send_request(&target, &request, NULL, NULL);
    answer(gh_text("done"));
}

static void interrupt(uint32_t count) {
    answer(gh_text("done"));
    while (count--)
        answer(gh_text("who asked?"));
}

static void send(gh_string rest) {
    gh_address target = gh_parse_address(gh_cut(&rest, ' '));
    gh_request request = {.expects_response = {true, 10}, .body = bytes_of(rest)};
    const gh_answer *came = gh_send_and_await_response(&target, &request, NULL);
    if (came->failed) {
        answer(gh_text("failed"));
        return;
    }
    gh_response response = {.body = came->message.response.response.body};
    gh_send_response(&response, NULL);
}

static void obey(gh_string text) {
    gh_string word = gh_cut(&text, ' ');
    if (gh_same(word, gh_text("spawn")))
        spawn(number(&text));
    else if (gh_same(word, gh_text("forge")))
        forge(text);
    else if (gh_same(word, gh_text("chatter")))
        chatter(number(&text));
    else if (gh_same(word, gh_text("flood"))) {
        uint32_t channel = number(&text);
        flood(channel, number(&text));
    } else if (gh_same(word, gh_text("everyone")))
        everyone(number(&text));
    else if (gh_same(word, gh_text("guess"))) {
        uint32_t from = number(&text);
        guess(from, number(&text));
    } else if (gh_same(word, gh_text("pester")))
        pester(text);
    else if (gh_same(word, gh_text("interrupt")))
        interrupt(number(&text));
    else if (gh_same(word, gh_text("send")))
        send(text);
}

void gh_run(const gh_address *our) {
    node = our->node;
    gh_bind_ws_path(gh_text("/"), false);
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed)
            continue;
        if (received->message.kind == GH_REQUEST) {
            gh_bytes body = received->message.request.request.body;
            obey((gh_string){(const char *)body.ptr, body.len});
        } else if (received->message.kind == GH_HTTP_SERVER &&
                   received->message.http_server.kind == GH_WEB_SOCKET_OPEN && channel_count < MOST_CHANNELS)
            channels[channel_count++] = received->message.http_server.open.channel_id;
    }
}
