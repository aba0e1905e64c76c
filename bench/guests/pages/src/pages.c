/* GET `/hello` is answered with a greeting, POST `/size` with the number of bytes of its body. `/static` is content of
 * 100,000 bytes that the node serves by itself. */
#include "guesthouse.h"

#define STATIC_BYTES 100000

static uint8_t content[STATIC_BYTES];
static char digits[10];

static gh_string decimal(size_t number) {
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    return (gh_string){digits + at, sizeof digits - at};
}

static void answer(gh_string text) {
    gh_lazy_load_blob body = {.mime = {true, gh_text("text/plain; charset=utf-8")},
                              .bytes = {(const uint8_t *)text.ptr, text.len}};
    gh_send_http_response(200, (gh_pairs){0}, &body);
}

static bool bind_static(void) {
    for (size_t i = 0; i < STATIC_BYTES; i++)
        content[i] = 'x';
    gh_http_binding binding = {0};
    gh_lazy_load_blob blob = {.mime = {true, gh_text("text/plain; charset=utf-8")}, .bytes = {content, STATIC_BYTES}};
    return gh_bind_http_static_path(gh_text("/static"), &binding, &blob) == GH_OK;
}

void gh_run(const gh_address *our) {
    if (gh_bind_http_path(gh_text("/hello"), false, false) != GH_OK ||
        gh_bind_http_path(gh_text("/size"), false, false) != GH_OK || !bind_static()) {
        gh_print(GH_ERROR, gh_text("the paths cannot be bound"));
        return;
    }
    for (;;) {
        const gh_received *received = gh_receive();
        if (received->failed || received->message.kind != GH_HTTP_SERVER ||
            received->message.http_server.kind != GH_HTTP)
            continue;
        if (gh_same(received->message.http_server.http.method, gh_text("GET"))) {
            answer(gh_text("Hello!"));
        } else {
            gh_option_blob blob = gh_get_blob();
            answer(decimal(blob.some ? blob.value.bytes.len : 0));
        }
    }
}
