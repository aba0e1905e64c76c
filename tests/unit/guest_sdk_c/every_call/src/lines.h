/* What the parts of the guest share: they make lines up and print them. */
#ifndef LINES_H
#define LINES_H

#include "guesthouse.h"

void add(gh_string text);
void add_text(const char *text);
void add_bytes(gh_bytes bytes);
void add_number(uint64_t number);
void add_address(gh_address address);
void print(void);
void print_code(const char *what, int code);
void print_missing(void);

gh_bytes bytes_of(const char *text);
const gh_address *friend(void);
gh_lazy_load_blob a_blob(void);
gh_request a_request(uint64_t seconds);

/* Commands for calls that few guests need. Returns whether it knows the command. */
bool more(uint32_t channel_id, gh_string command);

#endif
