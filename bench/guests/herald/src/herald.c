/* Text on `/trigger` goes to all channels of `/`: by that path, or by their ids when it begins with `#`. */
#include "guesthouse.h"

#define MOST 32768
#define HTTP_SERVER "guesthouse:process/http-server@0.1.0"
#define IMPORT(function) __attribute__((import_module(HTTP_SERVER), import_name(function)))

typedef struct {
    const void *ptr;
    size_t len;
} list;

IMPORT("send-ws-text-to-path")
extern void raw_text_to_path(const char *path, size_t path_len, const char *text, size_t text_len, list *refused);
IMPORT("send-ws-text-many")
extern void raw_text_many(const uint32_t *ids, size_t count, const char *text, size_t text_len, list *refused);

static uint32_t ids[MOST];
static size_t count;
static uint32_t trigger;

static void forget(uint32_t id) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id)
            ids[i] = ids[--count];
}

static void tell_all(gh_string text) {
    list refused = {0};
    if (text.len > 0 && text.ptr[0] == '#')
        raw_text_many(ids, count, text.ptr, text.len, &refused);
    else
        raw_text_to_path("/", 1, text.ptr, text.len, &refused);
    if (refused.len > 0)
        gh_print(GH_ERROR, gh_text("some channels were refused"));
}

void gh_run(const gh_address *our) {
    if (gh_bind_ws_path(gh_text("/"), false) != GH_OK || gh_bind_ws_path(gh_text("/trigger"), false) != GH_OK) {
        gh_print(GH_ERROR, gh_text("the paths cannot be bound"));
        return;
    }
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed || received->message.kind != GH_HTTP_SERVER)
            continue;
        const gh_http_server_request *event = &received->message.http_server;
        if (event->kind == GH_WEB_SOCKET_OPEN) {
            if (event->open.path.len > 1)
                trigger = event->open.channel_id;
            else if (count < MOST)
                ids[count++] = event->open.channel_id;
        } else if (event->kind == GH_WEB_SOCKET_CLOSE) {
            forget(event->closed);
        } else if (event->kind == GH_WEB_SOCKET_PUSH && event->push.channel_id == trigger) {
            gh_option_string text = gh_get_blob_text();
            if (text.some)
                tell_all(text.value);
        }
    }
}
