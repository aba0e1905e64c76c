/* What the parts of the puppet share. */
#ifndef PUPPET_H
#define PUPPET_H

#include "guesthouse.h"

gh_string next_word(gh_string *text);
uint32_t number(gh_string digits);
gh_address address(gh_string text);
gh_bytes bytes_of(gh_string text);
gh_string text_of(gh_bytes bytes);
void answer(gh_string text);
void answer_number(uint32_t value);

/* Words that need calls beside the SDK's. Returns whether it knows the word. */
bool obey_more(gh_string word, gh_string rest);

#endif
