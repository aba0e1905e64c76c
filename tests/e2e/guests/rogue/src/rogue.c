/* A process that does harm when a client asks for it: one word, and for some a number. Every new or resumed
 * channel is told "opened" or "resumed"; a word that leaves the process alive is answered. */
#include "guesthouse.h"

#define PAGE 65536

static gh_string node;

static void say(uint32_t channel, const char *text) { gh_send_ws_text(channel, gh_text(text)); }

static void say_number(uint32_t channel, uint32_t number) {
    char digits[10];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    gh_send_ws_text(channel, (gh_string){digits + at, sizeof digits - at});
}

static bool is(gh_string text, const char *word) { return gh_same(text, gh_text(word)); }

/* The number after a word such as "push 7"; the word is cut to "push". */
static uint32_t number_of(gh_string *text) {
    uint32_t number = 0;
    for (size_t i = 0; i < text->len; i++) {
        if (text->ptr[i] != ' ')
            continue;
        for (size_t digit = i + 1; digit < text->len; digit++)
            number = 10 * number + (uint32_t)(text->ptr[digit] - '0');
        text->len = i;
    }
    return number;
}

static void loop(void) {
    for (volatile uint32_t i = 0;; i++)
        ;
}

/* Takes and uses memory a page at a time; returns how many pages it got before it was refused one. */
static uint32_t allocate(void) {
    for (uint32_t pages = 0;; pages++) {
        size_t page = __builtin_wasm_memory_grow(0, 1);
        if (page == (size_t)-1)
            return pages;
        *(volatile char *)(page * PAGE) = 1;
    }
}

/* Uses up the stack of calls, not the stack in memory. */
__attribute__((noinline)) static uint32_t recurse(uint32_t depth) {
    static volatile uint32_t deepest;
    deepest = depth;
    return recurse(depth + 1) + deepest;
}

/* Pushes 64 KiB messages to its own channel; returns how many were taken before one was refused. */
static uint32_t flood(uint32_t channel, bool for_ever) {
    static uint8_t noise[PAGE];
    gh_lazy_load_blob blob = {{.some = false}, {noise, sizeof noise}};
    for (uint32_t taken = 0;; taken++)
        if (gh_send_ws_push(node, channel, GH_BINARY, &blob) != GH_OK && !for_ever) {
            gh_print(GH_INFO, gh_text("the flood is held back"));
            return taken;
        }
}

/* Waits for an answer that never comes, and so receives nothing more. */
static void go_deaf(void) {
    gh_address target = {node, {gh_text("echo-c"), gh_text("echo-c"), gh_text("guesthouse.os")}};
    gh_request request = {.expects_response = {true, 3600}, .body = {(const uint8_t *)"?", 1}};
    gh_send_and_await_response(&target, &request, NULL);
}

/* Sends `count` requests of 16 KiB that nobody asked for. */
static void pester(uint32_t count) {
    static uint8_t noise[PAGE / 4];
    gh_address target = {node, {gh_text("echo-c"), gh_text("echo-c"), gh_text("guesthouse.os")}};
    gh_request request = {.body = {noise, sizeof noise}};
    while (count--)
        gh_send_request(&target, &request, NULL, NULL);
}

static void chatter(uint32_t count) {
    while (count--)
        gh_print(GH_INFO, gh_text("\x1b[2Jblah"));
}

static int keep(uint32_t pages) {
    size_t page = __builtin_wasm_memory_grow(0, pages);
    return page == (size_t)-1 ? -1 : gh_set_state((gh_bytes){(const uint8_t *)(page * PAGE), pages * PAGE});
}

/* What does not come back. */
static bool is_the_end(gh_string word, uint32_t channel) {
    if (is(word, "return"))
        return true;
    if (is(word, "trap"))
        __builtin_trap();
    else if (is(word, "loop"))
        loop();
    else if (is(word, "allocate")) {
        allocate();
        __builtin_trap();
    } else if (is(word, "recurse"))
        say_number(channel, recurse(0));
    else if (is(word, "flood-for-ever"))
        flood(channel, true);
    else if (is(word, "deaf"))
        go_deaf();
    else if (is(word, "wild-pointer"))
        gh_send_ws_text(channel, (gh_string){(const char *)0xfffffff0, 4096});
    else if (is(word, "not-utf8"))
        gh_send_ws_text(channel, (gh_string){"\xff\xfe", 2});
    return false;
}

static bool obey(gh_string word, uint32_t channel) {
    uint32_t number = number_of(&word);
    if (is(word, "push"))
        say_number(channel, (uint32_t)gh_send_ws_text(number, gh_text("not yours")));
    else if (is(word, "close"))
        say_number(channel, (uint32_t)gh_close_channel(number, 1000, gh_text("not yours")));
    else if (is(word, "grow"))
        say_number(channel, allocate());
    else if (is(word, "flood"))
        say_number(channel, flood(channel, false));
    else if (is(word, "keep"))
        say_number(channel, (uint32_t)keep(number));
    else if (is(word, "pester")) {
        pester(number);
        say(channel, "pestered");
    } else if (is(word, "chatter")) {
        chatter(number);
        say(channel, "chattered");
    } else if (is_the_end(word, channel))
        return false;
    return true;
}

void gh_run(const gh_address *our) {
    node = our->node;
    gh_bind_ws_path(gh_text("/"), false);
    for (bool going_on = true; going_on;) {
        const gh_received *received = gh_receive();
        if (received->failed || received->message.kind != GH_HTTP_SERVER)
            continue;
        const gh_http_server_request *event = &received->message.http_server;
        if (event->kind == GH_WEB_SOCKET_OPEN)
            say(event->open.channel_id, event->open.resumed ? "resumed" : "opened");
        else if (event->kind == GH_WEB_SOCKET_PUSH && event->push.message_type == GH_TEXT) {
            gh_option_string word = gh_get_blob_text();
            going_on = !word.some || obey(word.value, event->push.channel_id);
        }
    }
}
