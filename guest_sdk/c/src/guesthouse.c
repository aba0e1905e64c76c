/* The canonical ABI of `guesthouse:process@0.1.0`, by hand. Its interface is guesthouse.h. */
#include "abi.h"

/* ---- layout: checks of the structs against the canonical ABI ---------------------------- */

_Static_assert(sizeof(void *) == 4, "guests are 32-bit");
_Static_assert(sizeof(gh_address) == 32, "address");
_Static_assert(sizeof(gh_option_string) == 12, "option<string>");
_Static_assert(sizeof(gh_option_u64) == 16, "option<u64>");
_Static_assert(sizeof(gh_lazy_load_blob) == 20, "lazy-load-blob");
_Static_assert(sizeof(gh_option_blob) == 24, "option<lazy-load-blob>");
_Static_assert(sizeof(gh_capability) == 40, "capability");
_Static_assert(sizeof(gh_request) == 56 && offsetof(gh_request, body) == 24, "request");
_Static_assert(sizeof(gh_response) == 32, "response");
_Static_assert(sizeof(gh_incoming_request) == 88, "incoming-request");
_Static_assert(sizeof(gh_incoming_response) == 76, "incoming-response");
_Static_assert(sizeof(gh_web_socket_open) == 68, "web-socket-open");
_Static_assert(sizeof(gh_web_socket_push) == 8, "web-socket-push");
_Static_assert(sizeof(gh_http_request) == 60, "incoming-http-request");
_Static_assert(offsetof(gh_http_server_request, open) == 4, "http-server-request");
_Static_assert(offsetof(gh_message, request) == 8 && sizeof(gh_message) == 96, "message");
_Static_assert(offsetof(gh_send_error, request) == 40 && sizeof(gh_send_error) == 168, "send-error");
_Static_assert(offsetof(gh_received, message) == 8 && sizeof(gh_received) == 192, "result<message, send-failure>");
_Static_assert(sizeof(gh_option_ws_push) == 32 && offsetof(gh_option_ws_push, bytes) == 20, "receive-ws-push");
_Static_assert(sizeof(gh_answer) == 176, "result<message, send-error>");
_Static_assert(sizeof(gh_sending) == 128 && offsetof(gh_sending, context) == 88, "a request of send-requests");
_Static_assert(sizeof(gh_last_request) == 112 && offsetof(gh_last_request, blob) == 88, "a request of on-exit");

/* ---- the host's functions, flattened by the canonical ABI ----------------------------- */

/* `send-request` and `send-and-await-response` have over 16 flat arguments, so they take them in memory. */
IMPORT(MESSAGING, "receive") void host_receive(gh_received *result);
IMPORT(MESSAGING, "receive-ws-push") void host_receive_ws_push(gh_option_ws_push *result);
IMPORT(MESSAGING, "get-blob") void host_get_blob(gh_option_blob *result);
IMPORT(MESSAGING, "get-blob-text") void host_get_blob_text(gh_option_string *result);
IMPORT(MESSAGING, "has-blob") bool host_has_blob(void);
IMPORT(MESSAGING, "last-blob") void host_last_blob(gh_option_blob *result);
IMPORT(MESSAGING, "send-requests") void host_send_requests(const gh_sending *requests, size_t len);
IMPORT(MESSAGING, "send-request") void host_send_request(const gh_sending *arguments);
IMPORT(MESSAGING, "send-response")
void host_send_response(int inherit, const uint8_t *body, size_t body_len, int has_metadata,
                        const char *metadata, size_t metadata_len, const gh_capability *capabilities,
                        size_t capabilities_len, int has_blob, int has_mime, const char *mime,
                        size_t mime_len, const uint8_t *bytes, size_t bytes_len);
IMPORT(MESSAGING, "send-and-await-response")
void host_send_and_await_response(const gh_last_request *arguments, gh_answer *result);

IMPORT(SYSTEM, "print") void host_print(int verbosity, const char *text, size_t text_len);
IMPORT(SYSTEM, "get-state") void host_get_state(gh_option_bytes *result);
IMPORT(SYSTEM, "set-state") void host_set_state(const uint8_t *bytes, size_t bytes_len, named_outcome *result);
IMPORT(SYSTEM, "clear-state") void host_clear_state(named_outcome *result);

/* ---- the process itself ---------------------------------------------------------------------------- */

/* `our` is passed in the arena, so it is copied to outlive the first receive. An address is four names of at
 * most 128 characters. */
#define MAX_NAME 128

static char our_names[4][MAX_NAME];
static gh_address our;

static gh_string kept(char *place, const char *text, size_t len) {
    if (len > MAX_NAME)
        __builtin_trap();
    __builtin_memcpy(place, text, len);
    return (gh_string){place, len};
}

__attribute__((export_name("guesthouse:process/guest@0.1.0#run"))) void run(
    const char *node, size_t node_len, const char *process, size_t process_len, const char *package,
    size_t package_len, const char *publisher, size_t publisher_len) {
    our = (gh_address){
        kept(our_names[0], node, node_len),
        {
            kept(our_names[1], process, process_len),
            kept(our_names[2], package, package_len),
            kept(our_names[3], publisher, publisher_len),
        },
    };
    gh_run(&our);
}

gh_address gh_our(void) { return our; }

gh_address gh_module(const char *name) {
    return (gh_address){our.node, {gh_text(name), gh_text("distro"), gh_text("sys")}};
}

gh_string gh_text(const char *text) {
    size_t len = 0;
    while (text[len] != '\0')
        len++;
    return (gh_string){text, len};
}

gh_string gh_cut(gh_string *rest, char separator) {
    size_t len = 0;
    while (len < rest->len && rest->ptr[len] != separator)
        len++;
    gh_string part = {rest->ptr, len};
    size_t after = len < rest->len ? len + 1 : len;
    rest->ptr += after;
    rest->len -= after;
    return part;
}

gh_address gh_parse_address(gh_string text) {
    gh_string rest = text;
    gh_string node = gh_cut(&rest, '@');
    gh_address parsed = {.node = node};
    if (node.len == text.len) {
        parsed.node = our.node;
        rest = text;
    }
    parsed.process.process_name = gh_cut(&rest, ':');
    parsed.process.package_name = gh_cut(&rest, ':');
    parsed.process.publisher_node = rest;
    return parsed;
}

/* Compilers call it by themselves, and it is no instruction of wasm, as the others of its kind are. */
__attribute__((weak)) int memcmp(const void *a, const void *b, size_t len) {
    const unsigned char *left = a, *right = b;
    for (size_t i = 0; i < len; i++)
        if (left[i] != right[i])
            return left[i] - right[i];
    return 0;
}

bool gh_same(gh_string a, gh_string b) {
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (a.ptr[i] != b.ptr[i])
            return false;
    return true;
}

static gh_option_capability missing;

gh_option_capability gh_missing(void) { return missing; }

int gh_abi_named_code_of(const named_outcome *result, int with_capability) {
    int code = result->failed ? 1 + result->why.refusal : GH_OK;
    missing.some = code == with_capability;
    missing.value = result->why.missing;
    return code;
}

void gh_print(gh_verbosity verbosity, gh_string text) { host_print((int)verbosity, text.ptr, text.len); }

gh_option_bytes gh_get_state(void) {
    gh_option_bytes result;
    host_get_state(&result);
    return result;
}

int gh_set_state(gh_bytes bytes) {
    named_outcome result;
    host_set_state(bytes.ptr, bytes.len, &result);
    return gh_abi_named_code_of(&result, GH_STATE_TOO_BIG);
}

int gh_clear_state(void) {
    named_outcome result;
    host_clear_state(&result);
    return gh_abi_named_code_of(&result, GH_STATE_TOO_BIG);
}

/* ---- messages -------------------------------------------------------------------------------------- */

const gh_received *gh_receive(void) {
    static gh_received received;
    gh_abi_empty_arena();
    missing.some = false; /* its names were in the arena */
    host_receive(&received);
    return &received;
}

gh_option_ws_push gh_receive_ws_push(void) {
    gh_option_ws_push result;
    gh_abi_empty_arena();
    missing.some = false;
    host_receive_ws_push(&result);
    return result;
}

gh_option_blob gh_get_blob(void) {
    gh_option_blob result;
    host_get_blob(&result);
    return result;
}

gh_option_string gh_get_blob_text(void) {
    gh_option_string result;
    host_get_blob_text(&result);
    return result;
}

bool gh_has_blob(void) { return host_has_blob(); }

gh_option_blob gh_last_blob(void) {
    gh_option_blob result;
    host_last_blob(&result);
    return result;
}

static gh_option_blob optional(const gh_lazy_load_blob *blob) {
    return blob == NULL ? (gh_option_blob){.some = false} : (gh_option_blob){true, *blob};
}

void gh_send_request(const gh_address *target, const gh_request *request, const gh_bytes *context,
                     const gh_lazy_load_blob *blob) {
    gh_sending arguments = {
        *target,
        *request,
        context == NULL ? (gh_option_bytes){.some = false} : (gh_option_bytes){true, *context},
        optional(blob),
    };
    host_send_request(&arguments);
}

void gh_send_requests(const gh_sending *requests, size_t len) { host_send_requests(requests, len); }

void gh_send_response(const gh_response *response, const gh_lazy_load_blob *blob) {
    gh_option_blob option = optional(blob);
    host_send_response(response->inherit, response->body.ptr, response->body.len, response->metadata.some,
                       response->metadata.value.ptr, response->metadata.value.len, response->capabilities.ptr,
                       response->capabilities.len, option.some, option.value.mime.some,
                       option.value.mime.value.ptr, option.value.mime.value.len, option.value.bytes.ptr,
                       option.value.bytes.len);
}

const gh_answer *gh_send_and_await_response(const gh_address *target, const gh_request *request,
                                            const gh_lazy_load_blob *blob) {
    static gh_answer answer;
    gh_last_request arguments = {*target, *request, optional(blob)};
    host_send_and_await_response(&arguments, &answer);
    return &answer;
}
