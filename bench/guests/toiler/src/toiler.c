/* Answers each text with itself once it has computed: as many thousand steps as the text is bytes long, or for
 * ever when it begins with `!`. */
#include "guesthouse.h"

static void compute(uint32_t thousands) {
    for (volatile uint32_t i = 0; i < 1000 * thousands; i++)
        ;
}

void gh_run(const gh_address *our) {
    if (gh_bind_ws_path(gh_text("/"), false) != GH_OK) {
        gh_print(GH_ERROR, gh_text("the path / cannot be bound"));
        return;
    }
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed || received->message.kind != GH_HTTP_SERVER ||
            received->message.http_server.kind != GH_WEB_SOCKET_PUSH)
            continue;
        gh_option_string text = gh_get_blob_text();
        if (!text.some)
            continue;
        if (text.value.len > 0 && text.value.ptr[0] == '!')
            for (;;)
                compute(1000000);
        compute(text.value.len);
        gh_send_ws_text(received->message.http_server.push.channel_id, text.value);
    }
}
