/* Calls that the C SDK does not carry, straight from the contract.
 *
 *   leave TARGET BODY              sets on-exit to that request
 *   give TARGET ISSUER PARAMS      sends TARGET `save ISSUER PARAMS`, with that capability
 *   save ISSUER PARAMS, drop ISSUER PARAMS
 *   bind PATH                      answers 0 or 1 and the refusal's place
 *   spawn NAME PATH                answers the child's id, or `refused N` */
#include "puppet.h"

#define IMPORT(interface, function) __attribute__((import_module(interface), import_name(function)))

typedef struct {
    gh_address target;
    gh_request request;
    gh_option_blob blob;
} on_exit_request;

IMPORT("guesthouse:process/system@0.1.0", "set-on-exit")
void host_set_on_exit(int kind, const on_exit_request *requests, size_t len);

static void leave(gh_string rest) {
    on_exit_request last = {.target = address(next_word(&rest))};
    last.request.body = bytes_of(rest);
    host_set_on_exit(2, &last, 1);
    answer(gh_text("left"));
}

IMPORT("guesthouse:process/capabilities@0.1.0", "save")
void host_save(const gh_capability *capabilities, size_t len);
IMPORT("guesthouse:process/capabilities@0.1.0", "drop")
void host_drop(const gh_capability *capabilities, size_t len);

static gh_capability capability(gh_string *rest) {
    gh_address issuer = address(next_word(rest));
    return (gh_capability){issuer, next_word(rest)};
}

static void give(gh_string rest) {
    gh_address target = address(next_word(&rest));
    static char body[512] = "save ";
    size_t len = rest.len < sizeof body - 5 ? rest.len : sizeof body - 5;
    __builtin_memcpy(body + 5, rest.ptr, len);
    gh_capability given = capability(&rest);
    gh_request request = {.body = {(const uint8_t *)body, len + 5}, .capabilities = {&given, 1}};
    gh_send_request(&target, &request, NULL, NULL);
    answer(gh_text("given"));
}

typedef struct {
    bool failed;
    union {
        gh_process_id process;
        uint8_t refusal;
    };
} spawned;

IMPORT("guesthouse:process/spawning@0.1.0", "spawn")
void host_spawn(int has_name, const char *name, size_t name_len, const char *path, size_t path_len, int on_exit,
                const void *on_exit_requests, size_t on_exit_len, const gh_capability *requests,
                size_t requests_len, const gh_process_id *grants, size_t grants_len, int is_public,
                spawned *result);

static void spawn(gh_string rest) {
    gh_string name = next_word(&rest);
    spawned result;
    host_spawn(1, name.ptr, name.len, rest.ptr, rest.len, 0, NULL, 0, NULL, 0, NULL, 0, 0, &result);
    if (result.failed)
        answer_number(result.refusal);
    else
        answer(result.process.process_name);
}

bool obey_more(gh_string word, gh_string rest) {
    if (gh_same(word, gh_text("leave")))
        leave(rest);
    else if (gh_same(word, gh_text("give")))
        give(rest);
    else if (gh_same(word, gh_text("spawn")))
        spawn(rest);
    else if (gh_same(word, gh_text("bind")))
        answer_number((uint32_t)gh_bind_ws_path(rest, true));
    else if (gh_same(word, gh_text("save"))) {
        gh_capability kept = capability(&rest);
        host_save(&kept, 1);
        answer(gh_text("saved"));
    } else if (gh_same(word, gh_text("drop"))) {
        gh_capability lost = capability(&rest);
        host_drop(&lost, 1);
        answer(gh_text("dropped"));
    } else
        return false;
    return true;
}
