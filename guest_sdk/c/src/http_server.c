/* `guesthouse:process/http-server`: channels and HTTP. */
#include "abi.h"

/* A push to an extension: its answer, or which refusal it is. */
typedef struct {
    bool failed;
    union {
        gh_option_blob answer;
        uint8_t refusal;
    };
} extension_outcome;

_Static_assert(sizeof(extension_outcome) == 28, "result<option<lazy-load-blob>, push-error>");
_Static_assert(sizeof(gh_refusal) == 8, "tuple<u32, push-error>");

IMPORT(HTTP_SERVER, "send-ws-push")
void host_send_ws_push(const char *node, size_t node_len, uint32_t channel_id, int message_type, int has_mime,
                       const char *mime, size_t mime_len, const uint8_t *bytes, size_t bytes_len,
                       outcome *result);
IMPORT(HTTP_SERVER, "send-ws-text")
void host_send_ws_text(uint32_t channel_id, const char *text, size_t text_len, outcome *result);
IMPORT(HTTP_SERVER, "close-channel")
void host_close_channel(uint32_t channel_id, int has_code, int code, const char *reason, size_t reason_len,
                        outcome *result);
IMPORT(HTTP_SERVER, "close-channels")
void host_close_channels(const uint32_t *ids, size_t ids_len, int has_code, int code, const char *reason,
                         size_t reason_len, gh_refusals *result);
IMPORT(HTTP_SERVER, "channel-claims") void host_channel_claims(uint32_t channel_id, gh_option_string *result);
IMPORT(HTTP_SERVER, "http-request-claims") void host_http_request_claims(gh_option_string *result);
IMPORT(HTTP_SERVER, "bind-ws-path")
void host_bind_ws_path(const char *path, size_t path_len, int authenticated, int secure, int extension,
                       const gh_string *subprotocols, size_t subprotocols_len, named_outcome *result);
IMPORT(HTTP_SERVER, "unbind-ws-path") void host_unbind_ws_path(const char *path, size_t path_len);
IMPORT(HTTP_SERVER, "bind-http-path")
void host_bind_http_path(const char *path, size_t path_len, int authenticated, int local_only, int secure,
                         int has_response_seconds, uint32_t response_seconds, named_outcome *result);
IMPORT(HTTP_SERVER, "unbind-http-path") void host_unbind_http_path(const char *path, size_t path_len);
IMPORT(HTTP_SERVER, "send-http-response")
void host_send_http_response(int status, const gh_pair *headers, size_t headers_len, int has_body,
                             int has_mime, const char *mime, size_t mime_len, const uint8_t *bytes,
                             size_t bytes_len);
IMPORT(HTTP_SERVER, "send-ws-push-many")
void host_send_ws_push_many(const uint32_t *ids, size_t ids_len, int message_type, int has_mime, const char *mime,
                            size_t mime_len, const uint8_t *bytes, size_t bytes_len, gh_refusals *result);
IMPORT(HTTP_SERVER, "send-ws-text-many")
void host_send_ws_text_many(const uint32_t *ids, size_t ids_len, const char *text, size_t text_len,
                            gh_refusals *result);
IMPORT(HTTP_SERVER, "send-ws-push-to-path")
void host_send_ws_push_to_path(const char *path, size_t path_len, int message_type, int has_mime, const char *mime,
                               size_t mime_len, const uint8_t *bytes, size_t bytes_len, gh_refusals *result);
IMPORT(HTTP_SERVER, "send-ws-text-to-path")
void host_send_ws_text_to_path(const char *path, size_t path_len, const char *text, size_t text_len,
                               gh_refusals *result);
IMPORT(HTTP_SERVER, "send-ws-push-waiting")
void host_send_ws_push_waiting(uint32_t channel_id, int message_type, int has_mime, const char *mime,
                               size_t mime_len, const uint8_t *bytes, size_t bytes_len, outcome *result);
IMPORT(HTTP_SERVER, "send-ws-extension-push")
void host_send_ws_extension_push(uint32_t channel_id, int has_mime, const char *mime, size_t mime_len,
                                 const uint8_t *bytes, size_t bytes_len, int has_seconds, uint32_t seconds,
                                 extension_outcome *result);
IMPORT(HTTP_SERVER, "set-channel-policy")
void host_set_channel_policy(uint32_t channel_id, int policy, outcome *result);
IMPORT(HTTP_SERVER, "bind-http-static-path")
void host_bind_http_static_path(const char *path, size_t path_len, int authenticated, int local_only, int secure,
                                int has_response_seconds, uint32_t response_seconds, int has_mime,
                                const char *mime, size_t mime_len, const uint8_t *bytes, size_t bytes_len,
                                named_outcome *result);
IMPORT(HTTP_SERVER, "serve-ui")
void host_serve_ui(const char *path, size_t path_len, int authenticated, int local_only, int secure,
                   int has_response_seconds, uint32_t response_seconds, named_outcome *result);

int gh_send_ws_push(gh_string node, uint32_t channel_id, gh_ws_message_type message_type,
                    const gh_lazy_load_blob *blob) {
    outcome result;
    host_send_ws_push(node.ptr, node.len, channel_id, message_type, blob->mime.some, blob->mime.value.ptr,
                      blob->mime.value.len, blob->bytes.ptr, blob->bytes.len, &result);
    return gh_abi_code_of(&result);
}

int gh_send_ws_text(uint32_t channel_id, gh_string text) {
    outcome result;
    host_send_ws_text(channel_id, text.ptr, text.len, &result);
    return gh_abi_code_of(&result);
}

/* The host counts refusals from 0, and GH_OK takes that place. */
static gh_refusals numbered(gh_refusals refused) {
    for (size_t i = 0; i < refused.len; i++)
        refused.ptr[i].error++;
    return refused;
}

gh_refusals gh_send_ws_push_many(const uint32_t *channel_ids, size_t len, gh_ws_message_type message_type,
                                 const gh_lazy_load_blob *blob) {
    gh_refusals refused;
    host_send_ws_push_many(channel_ids, len, message_type, blob->mime.some, blob->mime.value.ptr,
                           blob->mime.value.len, blob->bytes.ptr, blob->bytes.len, &refused);
    return numbered(refused);
}

gh_refusals gh_send_ws_text_many(const uint32_t *channel_ids, size_t len, gh_string text) {
    gh_refusals refused;
    host_send_ws_text_many(channel_ids, len, text.ptr, text.len, &refused);
    return numbered(refused);
}

gh_refusals gh_send_ws_push_to_path(gh_string path, gh_ws_message_type message_type,
                                    const gh_lazy_load_blob *blob) {
    gh_refusals refused;
    host_send_ws_push_to_path(path.ptr, path.len, message_type, blob->mime.some, blob->mime.value.ptr,
                              blob->mime.value.len, blob->bytes.ptr, blob->bytes.len, &refused);
    return numbered(refused);
}

gh_refusals gh_send_ws_text_to_path(gh_string path, gh_string text) {
    gh_refusals refused;
    host_send_ws_text_to_path(path.ptr, path.len, text.ptr, text.len, &refused);
    return numbered(refused);
}

int gh_send_ws_push_waiting(uint32_t channel_id, gh_ws_message_type message_type,
                            const gh_lazy_load_blob *blob) {
    outcome result;
    host_send_ws_push_waiting(channel_id, message_type, blob->mime.some, blob->mime.value.ptr,
                              blob->mime.value.len, blob->bytes.ptr, blob->bytes.len, &result);
    return gh_abi_code_of(&result);
}

int gh_send_ws_extension_push(uint32_t channel_id, const gh_lazy_load_blob *blob, gh_option_u32 seconds,
                              gh_option_blob *answer) {
    extension_outcome result;
    host_send_ws_extension_push(channel_id, blob->mime.some, blob->mime.value.ptr, blob->mime.value.len,
                                blob->bytes.ptr, blob->bytes.len, seconds.some, seconds.value, &result);
    if (result.failed)
        return 1 + result.refusal;
    if (answer != NULL)
        *answer = result.answer;
    return GH_OK;
}

int gh_set_channel_policy(uint32_t channel_id, gh_channel_policy policy) {
    outcome result;
    host_set_channel_policy(channel_id, (int)policy, &result);
    return gh_abi_code_of(&result);
}

int gh_close_channel(uint32_t channel_id, uint16_t code, gh_string reason) {
    outcome result;
    host_close_channel(channel_id, true, code, reason.ptr, reason.len, &result);
    return gh_abi_code_of(&result);
}

gh_refusals gh_close_channels(const uint32_t *channel_ids, size_t len, uint16_t code, gh_string reason) {
    gh_refusals refused;
    host_close_channels(channel_ids, len, true, code, reason.ptr, reason.len, &refused);
    return numbered(refused);
}

gh_option_string gh_channel_claims(uint32_t channel_id) {
    gh_option_string result;
    host_channel_claims(channel_id, &result);
    return result;
}

gh_option_string gh_http_request_claims(void) {
    gh_option_string result;
    host_http_request_claims(&result);
    return result;
}

int gh_bind_ws_path_as(gh_string path, const gh_ws_binding *binding) {
    named_outcome result;
    host_bind_ws_path(path.ptr, path.len, binding->authenticated, binding->secure, binding->extension,
                      binding->subprotocols, binding->subprotocols_len, &result);
    return gh_abi_named_code_of(&result, GH_BIND_NOT_AUTHORISED);
}

int gh_bind_ws_path(gh_string path, bool authenticated) {
    return gh_bind_ws_path_as(path, &(gh_ws_binding){.authenticated = authenticated});
}

void gh_unbind_ws_path(gh_string path) { host_unbind_ws_path(path.ptr, path.len); }

int gh_bind_http_path_as(gh_string path, const gh_http_binding *binding) {
    named_outcome result;
    host_bind_http_path(path.ptr, path.len, binding->authenticated, binding->local_only, binding->secure,
                        binding->response_seconds.some, binding->response_seconds.value, &result);
    return gh_abi_named_code_of(&result, GH_BIND_NOT_AUTHORISED);
}

int gh_bind_http_path(gh_string path, bool authenticated, bool local_only) {
    return gh_bind_http_path_as(path,
                                &(gh_http_binding){.authenticated = authenticated, .local_only = local_only});
}

int gh_bind_http_static_path(gh_string path, const gh_http_binding *binding, const gh_lazy_load_blob *content) {
    named_outcome result;
    host_bind_http_static_path(path.ptr, path.len, binding->authenticated, binding->local_only, binding->secure,
                               binding->response_seconds.some, binding->response_seconds.value,
                               content->mime.some, content->mime.value.ptr, content->mime.value.len,
                               content->bytes.ptr, content->bytes.len, &result);
    return gh_abi_named_code_of(&result, GH_BIND_NOT_AUTHORISED);
}

int gh_serve_ui(gh_string path, const gh_http_binding *binding) {
    named_outcome result;
    host_serve_ui(path.ptr, path.len, binding->authenticated, binding->local_only, binding->secure,
                  binding->response_seconds.some, binding->response_seconds.value, &result);
    return gh_abi_named_code_of(&result, GH_BIND_NOT_AUTHORISED);
}

void gh_unbind_http_path(gh_string path) { host_unbind_http_path(path.ptr, path.len); }

void gh_send_http_response(uint16_t status, gh_pairs headers, const gh_lazy_load_blob *body) {
    gh_option_blob option = body == NULL ? (gh_option_blob){.some = false} : (gh_option_blob){true, *body};
    host_send_http_response(status, headers.ptr, headers.len, option.some, option.value.mime.some,
                            option.value.mime.value.ptr, option.value.mime.value.len, option.value.bytes.ptr,
                            option.value.bytes.len);
}
