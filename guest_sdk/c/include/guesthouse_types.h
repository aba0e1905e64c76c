/* The values of the contract `guesthouse:process@0.1.0`, as C; guesthouse.h has its calls.
 *
 * The structs mirror the component model's canonical ABI byte for byte; the SDK's sources assert it. */
#ifndef GUESTHOUSE_TYPES_H
#define GUESTHOUSE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- values ---------------------------------------------------------------------------------------- */

/* UTF-8 text, not null-terminated. */
typedef struct {
    const char *ptr;
    size_t len;
} gh_string;

typedef struct {
    const uint8_t *ptr;
    size_t len;
} gh_bytes;

/* An option: `value` is valid if `some`. */
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
    bool some;
    uint32_t value;
} gh_option_u32;

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

typedef struct {
    const gh_process_id *ptr;
    size_t len;
} gh_process_ids;

/* `node@process:package:publisher` */
typedef struct {
    gh_string node;
    gh_process_id process;
} gh_address;

/* A message's payload; copied only when asked for. */
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
    bool resumed; /* the channel was open before this process was restarted */
    gh_option_string subprotocol; /* the selected one */
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

/* An event of the HTTP server; `kind` says which member of the union is valid. */
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

/* What `gh_receive_ws_push` returns: valid if `some`, and then with a text or bytes. */
typedef struct {
    bool some;
    uint32_t channel_id;
    gh_option_string text;
    gh_option_bytes bytes;
} gh_option_ws_push;

/* The outcome of `gh_send_and_await_response`. */
typedef struct {
    bool failed;
    union {
        gh_message message;
        gh_send_error error;
    };
} gh_answer;

/* Calls that can be refused return GH_OK, or 1 + the index of the error in its list. */
#define GH_OK 0

typedef enum {
    GH_PUSH_CHANNEL_NOT_FOUND = 1,
    GH_PUSH_CHANNEL_FULL,
    GH_PUSH_PING_PONG_TOO_LONG,
    GH_PUSH_NOT_UTF8,
    GH_PUSH_TOO_BIG,
    GH_PUSH_NODE_UNREACHABLE,
    GH_PUSH_BAD_CLOSE,
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

typedef enum {
    GH_SPAWN_NAME_TAKEN = 1,
    GH_SPAWN_NO_FILE_AT_PATH,
    GH_SPAWN_NOT_AUTHORISED,
    GH_SPAWN_TOO_MANY,
} gh_spawn_error;

typedef enum { GH_ERROR, GH_WARNING, GH_INFO, GH_DEBUG } gh_verbosity;

/* ---- what calls take and give ---------------------------------------------------------------------- */

/* One of several requests. */
typedef struct {
    gh_address target;
    gh_request request;
    gh_option_bytes context;
    gh_option_blob blob;
} gh_sending;

/* A request that the host sends for the process when it ends. */
typedef struct {
    gh_address target;
    gh_request request;
    gh_option_blob blob;
} gh_last_request;

typedef enum : uint8_t { GH_EXIT_NONE, GH_EXIT_RESTART, GH_EXIT_REQUESTS } gh_on_exit_kind;

/* What the host does when the process ends. */
typedef struct {
    gh_on_exit_kind kind;
    const gh_last_request *requests; /* of GH_EXIT_REQUESTS */
    size_t len;
} gh_on_exit;

/* How to start a child process; omitted members are none. */
typedef struct {
    gh_option_string name;                /* without one it gets a free one */
    gh_string wasm_path;                  /* in the package, such as `/child.wasm` */
    gh_on_exit on_exit;
    gh_capabilities request_capabilities; /* for the child, of those that this process holds */
    gh_process_ids grant_capabilities;    /* who may message the child */
    bool is_public;                       /* everyone may */
} gh_child;

/* A channel that refused a push to many, or was not closed. */
typedef struct {
    uint32_t channel_id;
    uint8_t error; /* a gh_push_error or gh_close_error */
} gh_refusal;

typedef struct {
    gh_refusal *ptr;
    size_t len;
} gh_refusals;

/* What happens to a push when the channel's outbox is full. */
typedef enum {
    GH_POLICY_REFUSE,      /* GH_PUSH_CHANNEL_FULL, the default */
    GH_POLICY_WAIT,        /* gh_send_ws_push_waiting waits; other pushes are refused */
    GH_POLICY_DROP_OLDEST, /* the oldest messages are dropped to make room */
    GH_POLICY_CLOSE,       /* the channel is closed with 1013 */
} gh_channel_policy;

/* How a WebSocket path is bound; omitted members are false. */
typedef struct {
    bool authenticated; /* only clients with a valid auth cookie */
    bool secure;        /* only on the package's own sub-domain, for clients who logged in there */
    bool extension;     /* for native programs on this machine, which may use the extension framing */
    const gh_string *subprotocols; /* in order of preference */
    size_t subprotocols_len;
} gh_ws_binding;

/* How an HTTP path is bound; omitted members are false, or none. */
typedef struct {
    bool authenticated; /* as in gh_ws_binding */
    bool local_only;    /* only clients on the node's own machine */
    bool secure;        /* as in gh_ws_binding */
    gh_option_u32 response_seconds; /* for the process to answer; none for the node's default */
} gh_http_binding;

/* The kinds of an attribute's value. */
typedef enum {
    GH_ATTRIBUTE_TEXT,
    GH_ATTRIBUTE_INTEGER,
    GH_ATTRIBUTE_NUMBER,
    GH_ATTRIBUTE_TRUTH,
} gh_attribute_kind;

/* An attribute of a span or event. */
typedef struct {
    gh_string name;
    struct {
        uint8_t kind; /* a gh_attribute_kind */
        union {
            gh_string text;
            int64_t integer;
            double number;
            bool truth;
        };
    } value;
} gh_attribute;

#endif
