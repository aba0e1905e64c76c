/* The Guesthouse guest SDK for C: the contract `guesthouse:process@0.1.0`, as C.
 *
 * Write one function, `void gh_run(const gh_address *our)`; it is the process. See README.md.
 *
 * Memory. Everything the host hands over (messages, blobs, addresses) stands in one arena and stays valid
 * until the next `gh_receive`; copy what must live longer. `gh_mark` and `gh_release` give space back
 * earlier, for a loop that asks for much without receiving. Nothing else is allocated.
 *
 * The structs mirror the component model's canonical ABI byte for byte; `guesthouse.c` asserts it. */
#ifndef GUESTHOUSE_H
#define GUESTHOUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- values ---------------------------------------------------------------------------------------- */

/* UTF-8 text, not terminated by a zero. */
typedef struct {
    const char *ptr;
    size_t len;
} gh_string;

typedef struct {
    const uint8_t *ptr;
    size_t len;
} gh_bytes;

/* An option: `some` tells whether `value` counts. */
typedef struct {
    bool some;
    gh_string value;
} gh_option_string;

typedef struct {
    bool some;
    gh_bytes value;
} gh_option_bytes;

typedef struct {
    bool some;
    uint64_t value;
} gh_option_u64;

typedef struct {
    gh_string name;
    gh_string value;
} gh_pair;

typedef struct {
    const gh_pair *ptr;
    size_t len;
} gh_pairs;

/* ---- types ----------------------------------------------------------------------------------------- */

/* `process:package:publisher` */
typedef struct {
    gh_string process_name;
    gh_string package_name;
    gh_string publisher_node;
} gh_process_id;

/* `node@process:package:publisher` */
typedef struct {
    gh_string node;
    gh_process_id process;
} gh_address;

/* A payload that travels beside a message; crosses only when asked for. */
typedef struct {
    gh_option_string mime;
    gh_bytes bytes;
} gh_lazy_load_blob;

typedef struct {
    bool some;
    gh_lazy_load_blob value;
} gh_option_blob;

typedef struct {
    gh_address issuer;
    gh_string params;
} gh_capability;

typedef struct {
    const gh_capability *ptr;
    size_t len;
} gh_capabilities;

typedef struct {
    bool some;
    gh_capability value;
} gh_option_capability;

typedef struct {
    bool inherit;
    gh_option_u64 expects_response; /* seconds */
    gh_bytes body;
    gh_option_string metadata;
    gh_capabilities capabilities;
} gh_request;

typedef struct {
    bool inherit;
    gh_bytes body;
    gh_option_string metadata;
    gh_capabilities capabilities;
} gh_response;

typedef struct {
    gh_address source;
    gh_request request;
} gh_incoming_request;

typedef struct {
    gh_address source;
    gh_response response;
    gh_option_bytes context;
} gh_incoming_response;

typedef enum : uint8_t { GH_TEXT, GH_BINARY, GH_PING, GH_PONG, GH_CLOSE } gh_ws_message_type;

typedef struct {
    gh_string path;
    uint32_t channel_id;
    gh_option_string source_socket_addr;
    gh_option_string forwarded_for;
    gh_pairs url_params;
    gh_pairs query_params;
    bool resumed; /* the channel was open before this process was started again */
    gh_option_string subprotocol; /* the one that was agreed on */
} gh_web_socket_open;

typedef struct {
    uint32_t channel_id;
    gh_ws_message_type message_type;
} gh_web_socket_push;

typedef struct {
    gh_option_string source_socket_addr;
    gh_string method;
    gh_string url;
    gh_string bound_path;
    gh_pairs headers;
    gh_pairs url_params;
    gh_pairs query_params;
} gh_http_request;

typedef enum : uint8_t {
    GH_WEB_SOCKET_OPEN,
    GH_WEB_SOCKET_PUSH,
    GH_WEB_SOCKET_CLOSE,
    GH_HTTP,
} gh_http_server_kind;

/* What the HTTP server tells a process: `kind` says which member of the union counts. */
typedef struct {
    gh_http_server_kind kind;
    union {
        gh_web_socket_open open;
        gh_web_socket_push push;
        uint32_t closed; /* channel id */
        gh_http_request http;
    };
} gh_http_server_request;

typedef enum : uint8_t { GH_REQUEST, GH_RESPONSE, GH_HTTP_SERVER } gh_message_kind;

typedef struct {
    gh_message_kind kind;
    union {
        gh_incoming_request request;
        gh_incoming_response response;
        gh_http_server_request http_server;
    };
} gh_message;

typedef enum : uint8_t {
    GH_OFFLINE,
    GH_TIMEOUT,
    GH_NO_SUCH_PROCESS,
    GH_MAILBOX_FULL,
    GH_NOT_AUTHORISED,
} gh_send_error_kind;

typedef struct {
    gh_send_error_kind kind;
    gh_address target;
    gh_request request;
    gh_option_blob blob;
    gh_option_capability missing; /* with GH_NOT_AUTHORISED */
} gh_send_error;

typedef struct {
    gh_send_error error;
    gh_option_bytes context;
} gh_send_failure;

/* What arrives: a message, or the failure of a request sent before. */
typedef struct {
    bool failed;
    union {
        gh_message message;
        gh_send_failure failure;
    };
} gh_received;

/* The outcome of `gh_send_and_await_response`. */
typedef struct {
    bool failed;
    union {
        gh_message message;
        gh_send_error error;
    };
} gh_answer;

/* Calls that can be refused return GH_OK, or 1 + the refusal's place in its list. */
#define GH_OK 0

/* The capability that the call refused last was missing: after GH_BIND_NOT_AUTHORISED and GH_STATE_TOO_BIG. */
gh_option_capability gh_missing(void);

typedef enum {
    GH_PUSH_CHANNEL_NOT_FOUND = 1,
    GH_PUSH_CHANNEL_FULL,
    GH_PUSH_PING_PONG_TOO_LONG,
    GH_PUSH_NOT_UTF8,
    GH_PUSH_TOO_BIG,
    GH_PUSH_NODE_UNREACHABLE,
} gh_push_error;

typedef enum {
    GH_BIND_BAD_PATH = 1,
    GH_BIND_TOO_MANY,
    GH_BIND_NO_SUBDOMAIN,
    GH_BIND_BAD_SUBPROTOCOL,
    GH_BIND_NO_UI,
    GH_BIND_NOT_AUTHORISED,
} gh_bind_error;

typedef enum {
    GH_CLOSE_CHANNEL_NOT_FOUND = 1,
    GH_CLOSE_BAD_CODE,
    GH_CLOSE_REASON_TOO_LONG,
} gh_close_error;

typedef enum { GH_STATE_TOO_BIG = 1, GH_STATE_STORAGE } gh_state_error;

typedef enum { GH_ERROR, GH_WARNING, GH_INFO, GH_DEBUG } gh_verbosity;

/* ---- the process itself ---------------------------------------------------------------------------- */

/* Yours to write. It runs the process, which ends when it returns. `our` stays valid throughout. */
void gh_run(const gh_address *our);

/* Text from a string that ends with a zero. */
gh_string gh_text(const char *text);

/* Whether two texts are the same. */
bool gh_same(gh_string a, gh_string b);

/* Writes a line to the process's log. */
void gh_print(gh_verbosity verbosity, gh_string text);

/* The bytes stored last. Blocks. */
gh_option_bytes gh_get_state(void);

/* Stores bytes in place of those stored before; durable once it returns GH_OK. Blocks. */
int gh_set_state(gh_bytes bytes);

/* Forgets the stored bytes. Blocks. */
int gh_clear_state(void);

/* ---- messages -------------------------------------------------------------------------------------- */

/* Waits for the next message. What the host handed over before is gone after it. */
const gh_received *gh_receive(void);

/* The payload of the message received last. */
gh_option_blob gh_get_blob(void);

/* The same as text, in one copy: the fast way for text pushes. None when there is none or it is not UTF-8. */
gh_option_string gh_get_blob_text(void);

/* Whether the message received last has a payload. */
bool gh_has_blob(void);

/* Sends a request; a failure arrives through `gh_receive`. `context` and `blob` may be null. */
void gh_send_request(const gh_address *target, const gh_request *request, const gh_bytes *context,
                     const gh_lazy_load_blob *blob);

/* Answers the request received last that wants an answer. `blob` may be null. */
void gh_send_response(const gh_response *response, const gh_lazy_load_blob *blob);

/* Sends a request and waits for its response; others queue meanwhile. `blob` may be null. Blocks. */
const gh_answer *gh_send_and_await_response(const gh_address *target, const gh_request *request,
                                            const gh_lazy_load_blob *blob);

/* ---- channels and HTTP ----------------------------------------------------------------------------- */

/* Pushes a message to a channel of this process on a node. GH_OK or a gh_push_error. */
int gh_send_ws_push(gh_string node, uint32_t channel_id, gh_ws_message_type message_type,
                    const gh_lazy_load_blob *blob);

/* Pushes text on this node, in one copy: the fast way for text. GH_OK or a gh_push_error. */
int gh_send_ws_text(uint32_t channel_id, gh_string text);

/* Closes a channel of this process. GH_OK or a gh_close_error. */
int gh_close_channel(uint32_t channel_id, uint16_t code, gh_string reason);

/* Accepts WebSockets on `/<process-id><path>`. GH_OK or a gh_bind_error. Blocks. */
int gh_bind_ws_path(gh_string path, bool authenticated);

/* Stops accepting WebSockets on the path. Blocks. */
void gh_unbind_ws_path(gh_string path);

/* Hands HTTP requests on the path to this process. GH_OK or a gh_bind_error. Blocks. */
int gh_bind_http_path(gh_string path, bool authenticated, bool local_only);

/* Stops serving the path. Blocks. */
void gh_unbind_http_path(gh_string path);

/* Answers the HTTP request received last. `body` may be null. */
void gh_send_http_response(uint16_t status, gh_pairs headers, const gh_lazy_load_blob *body);

/* ---- memory ---------------------------------------------------------------------------------------- */

/* The arena's fill, and going back to it: what the host handed over since is gone. */
size_t gh_mark(void);
void gh_release(size_t mark);

#endif
