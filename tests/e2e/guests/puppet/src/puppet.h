/* What the parts of the puppet share. */
#ifndef PUPPET_H
#define PUPPET_H

#include "guesthouse.h"

gh_string next_word(gh_string *text);
uint32_t number(gh_string digits);
gh_bytes bytes_of(gh_string text);
gh_string text_of(gh_bytes bytes);
void answer(gh_string text);
void answer_number(uint32_t value);

/* Sends, waits, and answers what came. */
void ask_and_answer(const gh_address *target, const gh_request *request, const gh_lazy_load_blob *blob);

/* What was missing, and what came with the message in hand, for `missing` and `show`. */
void note_missing(gh_option_capability capability);
void note_handed(gh_capabilities handed);

/* Words about capabilities and children. */
bool obey_rights(gh_string word, gh_string rest);

/* Words that need calls beside the SDK's. Returns whether it knows the word. */
bool obey_more(gh_string word, gh_string rest);

#endif
