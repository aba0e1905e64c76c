/* Answers each text with `VERSION COUNT TEXT`. The count is of all texts that any version answered: it is held in
 * memory alone, and stored when another version takes this one's place. The text `hold` keeps it busy for good. */
#include "guesthouse.h"

#ifndef VERSION
#define VERSION 1
#endif

static char line[512];

static size_t put_number(size_t at, uint32_t number) {
    char digits[10];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count)
        line[at++] = digits[--count];
    return at;
}

static void answer(uint32_t channel_id, uint32_t count) {
    gh_option_string text = gh_get_blob_text();
    if (!text.some || text.value.len > 256)
        return;
    if (gh_same(text.value, gh_text("hold")))
        for (volatile uint32_t i = 0;; i++)
            ;
    size_t len = put_number(0, VERSION);
    line[len++] = ' ';
    len = put_number(len, count);
    line[len++] = ' ';
    __builtin_memcpy(line + len, text.value.ptr, text.value.len);
    if (gh_send_ws_text(channel_id, (gh_string){line, len + text.value.len}) == GH_PUSH_CHANNEL_FULL)
        gh_print(GH_WARNING, gh_text("an answer was dropped"));
}

static void hand_over(uint32_t count) {
    static uint8_t kept[4];
    __builtin_memcpy(kept, &count, sizeof kept);
    gh_set_state((gh_bytes){kept, sizeof kept});
}

void gh_run(const gh_address *our) {
    if (VERSION == 666)
        __builtin_trap();
    while (VERSION == 777) /* never asks for a message */
        gh_get_state();
    uint32_t count = 0;
    gh_option_bytes kept = gh_get_state();
    if (kept.some && kept.value.len == sizeof count)
        __builtin_memcpy(&count, kept.value.ptr, sizeof count);
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed)
            continue;
        const gh_message *message = &received->message;
        if (message->kind == GH_HTTP_SERVER && message->http_server.kind == GH_WEB_SOCKET_PUSH)
            answer(message->http_server.push.channel_id, ++count);
        else if (message->kind == GH_REQUEST &&
                 gh_same(message->request.source.process.process_name, gh_text("kernel")))
            hand_over(count);
    }
}
