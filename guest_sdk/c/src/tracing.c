/* `guesthouse:process/tracing`. */
#include "abi.h"

_Static_assert(sizeof(gh_attribute) == 24, "tuple<string, attribute-value>");

IMPORT(TRACING, "traceparent") void host_traceparent(gh_option_string *result);
IMPORT(TRACING, "start-span") uint32_t host_start_span(const char *name, size_t len);
IMPORT(TRACING, "end-span") void host_end_span(uint32_t span, int has_error, const char *error, size_t len);
IMPORT(TRACING, "set-attributes")
void host_set_attributes(uint32_t span, const gh_attribute *attributes, size_t len);
IMPORT(TRACING, "add-event")
void host_add_event(uint32_t span, const char *name, size_t name_len, const gh_attribute *attributes, size_t len);

gh_option_string gh_traceparent(void) {
    gh_option_string result;
    host_traceparent(&result);
    return result;
}

uint32_t gh_start_span(gh_string name) { return host_start_span(name.ptr, name.len); }

void gh_end_span(uint32_t span, gh_option_string error) {
    host_end_span(span, error.some, error.value.ptr, error.value.len);
}

void gh_set_attributes(uint32_t span, const gh_attribute *attributes, size_t len) {
    host_set_attributes(span, attributes, len);
}

void gh_add_event(uint32_t span, gh_string name, const gh_attribute *attributes, size_t len) {
    host_add_event(span, name.ptr, name.len, attributes, len);
}
