/* `guesthouse:process/capabilities`, `spawning`, and on-exit. */
#include "abi.h"

/* A child's id, or the error. */
typedef struct {
    bool failed;
    union {
        gh_process_id process;
        struct {
            uint8_t refusal;
            gh_capability missing;
        } why;
    };
} spawn_outcome;

_Static_assert(sizeof(spawn_outcome) == sizeof(named_outcome), "result<process-id, spawn-error>");
_Static_assert(sizeof(gh_on_exit) == 12, "on-exit");

IMPORT(SYSTEM, "get-on-exit") void host_get_on_exit(gh_on_exit *result);
IMPORT(SYSTEM, "set-on-exit") void host_set_on_exit(int kind, const gh_last_request *requests, size_t len);
IMPORT(CAPABILITIES, "save") void host_save_capabilities(const gh_capability *capabilities, size_t len);
IMPORT(CAPABILITIES, "drop") void host_drop_capabilities(const gh_capability *capabilities, size_t len);
IMPORT(CAPABILITIES, "ours") void host_our_capabilities(gh_capabilities *result);
IMPORT(SPAWNING, "spawn")
void host_spawn_child(int has_name, const char *name, size_t name_len, const char *path, size_t path_len,
                      int on_exit, const gh_last_request *on_exit_requests, size_t on_exit_len,
                      const gh_capability *requests, size_t requests_len, const gh_process_id *grants,
                      size_t grants_len, int is_public, spawn_outcome *result);

gh_on_exit gh_get_on_exit(void) {
    gh_on_exit result;
    host_get_on_exit(&result);
    return result;
}

void gh_set_on_exit(const gh_on_exit *on_exit) {
    host_set_on_exit(on_exit->kind, on_exit->requests, on_exit->len);
}

void gh_save_capabilities(gh_capabilities capabilities) {
    host_save_capabilities(capabilities.ptr, capabilities.len);
}

void gh_drop_capabilities(gh_capabilities capabilities) {
    host_drop_capabilities(capabilities.ptr, capabilities.len);
}

gh_capabilities gh_our_capabilities(void) {
    gh_capabilities result;
    host_our_capabilities(&result);
    return result;
}

int gh_spawn(const gh_child *child, gh_process_id *process) {
    spawn_outcome result;
    host_spawn_child(child->name.some, child->name.value.ptr, child->name.value.len, child->wasm_path.ptr,
                     child->wasm_path.len, child->on_exit.kind, child->on_exit.requests, child->on_exit.len,
                     child->request_capabilities.ptr, child->request_capabilities.len,
                     child->grant_capabilities.ptr, child->grant_capabilities.len, child->is_public, &result);
    if (result.failed) {
        named_outcome refused = {.failed = true, .why = {result.why.refusal, result.why.missing}};
        return gh_abi_named_code_of(&refused, GH_SPAWN_NOT_AUTHORISED);
    }
    *process = result.process;
    return GH_OK;
}
