/* The Guesthouse guest SDK for C: the contract `guesthouse:process@0.1.0`, as C.
 *
 * Write one function, `void gh_run(const gh_address *our)`; it is the process. See README.md.
 *
 * Memory. Everything that the host returns (messages, blobs, addresses) is in one arena and stays valid
 * until the next `gh_receive`; copy what must live longer. `gh_mark` and `gh_release` free it
 * earlier, for a loop that makes many calls without receiving. Nothing else is allocated. */
#ifndef GUESTHOUSE_H
#define GUESTHOUSE_H

#include "guesthouse_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the process itself ---------------------------------------------------------------------------- */

/* Yours to define. It runs the process, which ends when it returns. `our` stays valid throughout. */
void gh_run(const gh_address *our);

/* The capability that was missing in the last refused call: after GH_BIND_NOT_AUTHORISED, GH_STATE_TOO_BIG and
 * GH_SPAWN_NOT_AUTHORISED. */
gh_option_capability gh_missing(void);

/* This process's own address. */
gh_address gh_our(void);

/* Text from a null-terminated string. */
gh_string gh_text(const char *text);

/* The text before the first `separator`, or all of it. `rest`, in which it was, becomes what follows the separator. */
gh_string gh_cut(gh_string *rest, char separator);

/* The address in `node@process:package:publisher`, or in `process:package:publisher` on this node. It points into `text`.
 * What is missing is empty, and names are not checked: what is sent to such an address is not delivered. */
gh_address gh_parse_address(gh_string text);

/* Whether two texts are equal. */
bool gh_same(gh_string a, gh_string b);

/* Writes a line to the process's log. */
void gh_print(gh_verbosity verbosity, gh_string text);

/* The stored bytes, if any. Blocks. */
gh_option_bytes gh_get_state(void);

/* Replaces the stored bytes; durable once it returns GH_OK. Blocks. */
int gh_set_state(gh_bytes bytes);

/* Deletes the stored bytes. Blocks. */
int gh_clear_state(void);

gh_on_exit gh_get_on_exit(void);

void gh_set_on_exit(const gh_on_exit *on_exit);

/* ---- capabilities and children --------------------------------------------------------------------- */

/* Saves capabilities that came with messages, or that this process issues, for later runs too. Blocks. */
void gh_save_capabilities(gh_capabilities capabilities);

/* Drops capabilities, for later runs too. Blocks. */
void gh_drop_capabilities(gh_capabilities capabilities);

/* The capabilities that this process holds. Blocks. */
gh_capabilities gh_our_capabilities(void);

/* Starts a process of this package. GH_OK and its id in `process`, or a gh_spawn_error. Blocks. */
int gh_spawn(const gh_child *child, gh_process_id *process);

/* ---- messages -------------------------------------------------------------------------------------- */

/* Waits for the next message. Invalidates what the host returned before. */
const gh_received *gh_receive(void);

/* Waits for the next message, too. A text or binary message of a client is taken with its payload; any other is left to
 * `gh_receive`, which returns it at once. Invalidates what the host returned before. */
gh_option_ws_push gh_receive_ws_push(void);

/* The payload of the message received last. */
gh_option_blob gh_get_blob(void);

/* The same as text, in one copy: the fastest way for text pushes. None when there is none or it is not UTF-8. */
gh_option_string gh_get_blob_text(void);

/* Whether the message received last has a payload. */
bool gh_has_blob(void);

/* The payload seen last, kept while messages without one arrive. */
gh_option_blob gh_last_blob(void);

/* `name:distro:sys` on this node, such as `kv`, `timer` and `vfs`, which take requests in JSON. */
gh_address gh_module(const char *name);

/* Sends a request; a failure arrives through `gh_receive`. `context` and `blob` may be null. */
void gh_send_request(const gh_address *target, const gh_request *request, const gh_bytes *context,
                     const gh_lazy_load_blob *blob);

/* Sends several requests, in order, as gh_send_request does. */
void gh_send_requests(const gh_sending *requests, size_t len);

/* Answers the last received request that expects an answer. `blob` may be null. */
void gh_send_response(const gh_response *response, const gh_lazy_load_blob *blob);

/* Sends a request and waits for its response; others queue meanwhile. `blob` may be null. Blocks. */
const gh_answer *gh_send_and_await_response(const gh_address *target, const gh_request *request,
                                            const gh_lazy_load_blob *blob);

/* ---- channels and HTTP ----------------------------------------------------------------------------- */

/* Pushes a message to a channel of this process on a node. GH_OK or a gh_push_error. */
int gh_send_ws_push(gh_string node, uint32_t channel_id, gh_ws_message_type message_type,
                    const gh_lazy_load_blob *blob);

/* Pushes text on this node, in one copy: the fastest way for text. GH_OK or a gh_push_error. */
int gh_send_ws_text(uint32_t channel_id, gh_string text);

/* Pushes one message to many channels on this node; the payload is copied once. Returns the channels that
 * refused it. A list that is passed to the host has at most 65,536 elements: more trap. */
gh_refusals gh_send_ws_push_many(const uint32_t *channel_ids, size_t len, gh_ws_message_type message_type,
                                 const gh_lazy_load_blob *blob);

/* The same for text, in one copy. */
gh_refusals gh_send_ws_text_many(const uint32_t *channel_ids, size_t len, gh_string text);

/* Pushes one message to all channels of a path, as bound or as requested. */
gh_refusals gh_send_ws_push_to_path(gh_string path, gh_ws_message_type message_type,
                                    const gh_lazy_load_blob *blob);

/* The same for text, in one copy. */
gh_refusals gh_send_ws_text_to_path(gh_string path, gh_string text);

/* Pushes on this node; under GH_POLICY_WAIT once there is room. GH_OK or a gh_push_error. Blocks. */
int gh_send_ws_push_waiting(uint32_t channel_id, gh_ws_message_type message_type, const gh_lazy_load_blob *blob);

/* Pushes to an extension in its framing. With seconds it is a request: the extension's answer is then in `answer`, or
 * none when it did not come in time. `answer` may be null. GH_OK or a gh_push_error. Blocks. */
int gh_send_ws_extension_push(uint32_t channel_id, const gh_lazy_load_blob *blob, gh_option_u32 seconds,
                              gh_option_blob *answer);

/* For this run of the process. GH_OK or GH_PUSH_CHANNEL_NOT_FOUND. Blocks. */
int gh_set_channel_policy(uint32_t channel_id, gh_channel_policy policy);

/* Closes a channel of this process. GH_OK or a gh_close_error. */
int gh_close_channel(uint32_t channel_id, uint16_t code, gh_string reason);

/* Closes many channels. Returns those that were not closed; their errors are gh_close_error. */
gh_refusals gh_close_channels(const uint32_t *channel_ids, size_t len, uint16_t code, gh_string reason);

/* What the service that issued its token says of the client of an open channel, as a JSON object; none if it says
 * nothing. */
gh_option_string gh_channel_claims(uint32_t channel_id);

/* The same of the HTTP request received last. */
gh_option_string gh_http_request_claims(void);

/* Accepts WebSockets on `/<process-id><path>`. GH_OK or a gh_bind_error. Blocks. */
int gh_bind_ws_path(gh_string path, bool authenticated);

/* gh_bind_ws_path with all options. GH_OK or a gh_bind_error. Blocks. */
int gh_bind_ws_path_as(gh_string path, const gh_ws_binding *binding);

/* Stops accepting WebSockets on the path. Blocks. */
void gh_unbind_ws_path(gh_string path);

/* Delivers HTTP requests on the path to this process. GH_OK or a gh_bind_error. Blocks. */
int gh_bind_http_path(gh_string path, bool authenticated, bool local_only);

/* gh_bind_http_path with all options. GH_OK or a gh_bind_error. Blocks. */
int gh_bind_http_path_as(gh_string path, const gh_http_binding *binding);

/* Serves this content on the path, without asking the process. GH_OK or a gh_bind_error. Blocks. */
int gh_bind_http_static_path(gh_string path, const gh_http_binding *binding, const gh_lazy_load_blob *content);

/* Serves the files of the package's `ui` folder under the path. GH_OK or a gh_bind_error. Blocks. */
int gh_serve_ui(gh_string path, const gh_http_binding *binding);

/* Stops serving the path. Blocks. */
void gh_unbind_http_path(gh_string path);

/* Answers the HTTP request received last. `body` may be null. */
void gh_send_http_response(uint16_t status, gh_pairs headers, const gh_lazy_load_blob *body);

/* ---- tracing --------------------------------------------------------------------------------------- */

/* The context of the innermost open span as a `traceparent` header; none when the message is not traced. Without a trace
 * all of this does nothing. */
gh_option_string gh_traceparent(void);

/* Begins a span in the innermost open one, and returns its number; 0 when it is not recorded. */
uint32_t gh_start_span(gh_string name);

/* Ends a span and those in it; with an error, if it has failed. */
void gh_end_span(uint32_t span, gh_option_string error);

/* Sets attributes of an open span, or with 0 of the whole run for this message. */
void gh_set_attributes(uint32_t span, const gh_attribute *attributes, size_t len);

/* Adds an event to an open span, or with 0 to the whole run for this message. `attributes` may be null. */
void gh_add_event(uint32_t span, gh_string name, const gh_attribute *attributes, size_t len);

/* ---- memory ---------------------------------------------------------------------------------------- */

/* The arena's current position, and going back to it: what the host returned since is invalid then. */
size_t gh_mark(void);
void gh_release(size_t mark);

#ifdef __cplusplus
}
#endif

#endif
