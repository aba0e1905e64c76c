/* Answers every text or binary message with the same payload and type. */
#include "guesthouse.h"

/* Text takes the lane on which it crosses in one copy; everything else goes as it came. */
static int answer(gh_string node, const gh_web_socket_push *push) {
    if (push->message_type == GH_TEXT) {
        gh_option_string text = gh_get_blob_text();
        return text.some ? gh_send_ws_text(push->channel_id, text.value) : GH_OK;
    }
    if (push->message_type == GH_BINARY) {
        gh_option_blob blob = gh_get_blob();
        return blob.some ? gh_send_ws_push(node, push->channel_id, GH_BINARY, &blob.value) : GH_OK;
    }
    return GH_OK;
}

void gh_run(const gh_address *our) {
    if (gh_bind_ws_path(gh_text("/"), true) != GH_OK || gh_bind_ws_path(gh_text("/public"), false) != GH_OK) {
        gh_print(GH_ERROR, gh_text("the paths / and /public cannot be bound"));
        return;
    }
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed || received->message.kind != GH_HTTP_SERVER ||
            received->message.http_server.kind != GH_WEB_SOCKET_PUSH)
            continue;
        if (answer(our->node, &received->message.http_server.push) == GH_PUSH_CHANNEL_FULL)
            gh_print(GH_WARNING, gh_text("a client reads too slowly: its answer was dropped"));
    }
}
