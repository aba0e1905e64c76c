/* A call that the C SDK does not carry, straight from the contract.
 *
 *   leave TARGET BODY              sets on-exit to that request */
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
    on_exit_request last = {.target = gh_parse_address(next_word(&rest))};
    last.request.body = bytes_of(rest);
    host_set_on_exit(2, &last, 1);
    answer(gh_text("left"));
}

bool obey_more(gh_string word, gh_string rest) {
    if (!gh_same(word, gh_text("leave")))
        return obey_rights(word, rest);
    leave(rest);
    return true;
}
