/* Capabilities and children, mostly by calls that the C SDK does not carry, straight from the contract.
 *
 *   missing                          answers the capability that the refusal seen last named
 *   give TARGET ISSUER PARAMS        sends TARGET `save ISSUER PARAMS`, with that capability
 *   hand TARGET ISSUER PARAMS BODY   asks TARGET with that capability, as `ask` does
 *   show                             answers the capabilities that came last, with a request or a response
 *   lend ISSUER PARAMS               answers `lent`, with that capability
 *   save ISSUER PARAMS, drop ISSUER PARAMS
 *   push NODE CHANNEL TEXT           pushes to a channel of a node; answers 0 or 1 and the refusal's place
 *   bind PATH                        answers 0 or 1 and the refusal's place
 *   spawn NAME PATH                  answers the child's id, or the refusal's place
 *   raise NAME PATH GRANTEE ISSUER PARAMS
 *                                    spawns a child that restarts, with that capability, and grants GRANTEE to message it */
#include "puppet.h"

#define IMPORT(interface, function) __attribute__((import_module(interface), import_name(function)))

IMPORT("guesthouse:process/capabilities@0.1.0", "save")
void host_save(const gh_capability *capabilities, size_t len);
IMPORT("guesthouse:process/capabilities@0.1.0", "drop")
void host_drop(const gh_capability *capabilities, size_t len);

static char shown[1024];
static size_t shown_used;
static char missing[512];
static size_t missing_used;

static void add(char *text, size_t size, size_t *used, gh_string part) {
    if (*used + part.len > size)
        __builtin_trap();
    __builtin_memcpy(text + *used, part.ptr, part.len);
    *used += part.len;
}

/* `PARAMS of PROCESS:PACKAGE:PUBLISHER` */
static void add_capability(char *text, size_t size, size_t *used, const gh_capability *capability) {
    const gh_process_id *process = &capability->issuer.process;
    gh_string parts[] = {capability->params,     gh_text(" of "), process->process_name, gh_text(":"),
                         process->package_name, gh_text(":"),    process->publisher_node};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        add(text, size, used, parts[i]);
}

void note_missing(gh_option_capability capability) {
    missing_used = 0;
    if (capability.some)
        add_capability(missing, sizeof missing, &missing_used, &capability.value);
}

void note_handed(gh_capabilities handed) {
    shown_used = 0;
    for (size_t i = 0; i < handed.len; i++) {
        if (i)
            add(shown, sizeof shown, &shown_used, gh_text(", "));
        add_capability(shown, sizeof shown, &shown_used, &handed.ptr[i]);
    }
}

static gh_capability capability(gh_string *rest) {
    gh_address issuer = gh_parse_address(next_word(rest));
    return (gh_capability){issuer, next_word(rest)};
}

static void give(gh_string rest) {
    gh_address target = gh_parse_address(next_word(&rest));
    static char body[512] = "save ";
    size_t len = rest.len < sizeof body - 5 ? rest.len : sizeof body - 5;
    __builtin_memcpy(body + 5, rest.ptr, len);
    gh_capability given = capability(&rest);
    gh_request request = {.body = {(const uint8_t *)body, len + 5}, .capabilities = {&given, 1}};
    gh_send_request(&target, &request, NULL, NULL);
    answer(gh_text("given"));
}

static void hand(gh_string rest) {
    gh_address target = gh_parse_address(next_word(&rest));
    gh_capability given = capability(&rest);
    gh_request request = {.expects_response = {true, 20}, .body = bytes_of(rest), .capabilities = {&given, 1}};
    ask_and_answer(&target, &request, NULL);
}

static void lend(gh_string rest) {
    gh_capability lent = capability(&rest);
    gh_response response = {.body = bytes_of(gh_text("lent")), .capabilities = {&lent, 1}};
    gh_send_response(&response, NULL);
}

typedef struct {
    bool failed;
    union {
        gh_process_id process;
        struct {
            uint8_t refusal;
            gh_capability missing;
        } why;
    };
} spawned;

enum { SPAWN_NOT_AUTHORISED = 2 };

IMPORT("guesthouse:process/spawning@0.1.0", "spawn")
void host_spawn(int has_name, const char *name, size_t name_len, const char *path, size_t path_len, int on_exit,
                const void *on_exit_requests, size_t on_exit_len, const gh_capability *requests,
                size_t requests_len, const gh_process_id *grants, size_t grants_len, int is_public,
                spawned *result);

static void report(const spawned *result) {
    if (!result->failed) {
        answer(result->process.process_name);
        return;
    }
    note_missing((gh_option_capability){result->why.refusal == SPAWN_NOT_AUTHORISED, result->why.missing});
    answer_number(result->why.refusal);
}

static void spawn(gh_string rest) {
    gh_string name = next_word(&rest);
    spawned result;
    host_spawn(1, name.ptr, name.len, rest.ptr, rest.len, 0, NULL, 0, NULL, 0, NULL, 0, 0, &result);
    report(&result);
}

static void raise(gh_string rest) {
    gh_string name = next_word(&rest), path = next_word(&rest);
    gh_process_id grantee = gh_parse_address(next_word(&rest)).process;
    gh_capability given = capability(&rest);
    spawned result;
    host_spawn(1, name.ptr, name.len, path.ptr, path.len, 1, NULL, 0, &given, 1, &grantee, 1, 0, &result);
    report(&result);
}

static void push(gh_string rest) {
    gh_string node = next_word(&rest);
    uint32_t channel = number(next_word(&rest));
    gh_lazy_load_blob blob = {.bytes = bytes_of(rest)};
    answer_number((uint32_t)gh_send_ws_push(node, channel, GH_TEXT, &blob));
}

static void bind(gh_string path) {
    int code = gh_bind_ws_path(path, true);
    note_missing(gh_missing());
    answer_number((uint32_t)code);
}

bool obey_rights(gh_string word, gh_string rest) {
    if (gh_same(word, gh_text("missing")))
        answer((gh_string){missing, missing_used});
    else if (gh_same(word, gh_text("show")))
        answer((gh_string){shown, shown_used});
    else if (gh_same(word, gh_text("give")))
        give(rest);
    else if (gh_same(word, gh_text("hand")))
        hand(rest);
    else if (gh_same(word, gh_text("lend")))
        lend(rest);
    else if (gh_same(word, gh_text("spawn")))
        spawn(rest);
    else if (gh_same(word, gh_text("raise")))
        raise(rest);
    else if (gh_same(word, gh_text("push")))
        push(rest);
    else if (gh_same(word, gh_text("bind")))
        bind(rest);
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
