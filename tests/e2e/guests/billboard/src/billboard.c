/* Logs and answers what each message says. `close TEXT` closes the channel with that reason, `trap` ends it. */
#include "guesthouse.h"

static int starts(gh_string text, gh_string with) {
    return text.len >= with.len && gh_same((gh_string){text.ptr, with.len}, with);
}

static void act(uint32_t channel, gh_string text) {
    gh_string end = gh_text("close ");
    gh_print(GH_WARNING, text);
    if (starts(text, gh_text("trap")))
        __builtin_trap();
    if (starts(text, end))
        gh_close_channel(channel, 4000, (gh_string){text.ptr + end.len, text.len - end.len});
    else
        gh_send_ws_text(channel, text);
}

void gh_run(const gh_address *our) {
    (void)our;
    gh_bind_ws_path(gh_text("/board"), true);
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed || received->message.kind != GH_HTTP_SERVER ||
            received->message.http_server.kind != GH_WEB_SOCKET_PUSH)
            continue;
        gh_option_string text = gh_get_blob_text();
        if (text.some)
            act(received->message.http_server.push.channel_id, text.value);
    }
}
