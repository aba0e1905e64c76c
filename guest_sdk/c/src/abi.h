/* Shared by the SDK's sources: names and layouts of the host's functions in the canonical ABI. */
#ifndef GUESTHOUSE_ABI_H
#define GUESTHOUSE_ABI_H

#include "guesthouse.h"

#define MESSAGING "guesthouse:process/messaging@0.1.0"
#define HTTP_SERVER "guesthouse:process/http-server@0.1.0"
#define CAPABILITIES "guesthouse:process/capabilities@0.1.0"
#define SPAWNING "guesthouse:process/spawning@0.1.0"
#define SYSTEM "guesthouse:process/system@0.1.0"
#define TRACING "guesthouse:process/tracing@0.1.0"
#define IMPORT(interface, function) __attribute__((import_module(interface), import_name(function)))

/* A result without a value: `failed`, then the error. */
typedef struct {
    bool failed;
    uint8_t refusal;
} outcome;

/* The same for errors of which one carries the missing capability. */
typedef struct {
    bool failed;
    struct {
        uint8_t refusal;
        gh_capability missing;
    } why;
} named_outcome;

_Static_assert(sizeof(named_outcome) == 48, "result<_, bind-error>");

static inline int gh_abi_code_of(const outcome *result) { return result->failed ? 1 + result->refusal : GH_OK; }

/* Records the capability of that error for gh_missing. */
int gh_abi_named_code_of(const named_outcome *result, int with_capability);

/* Frees everything that the host returned. */
void gh_abi_empty_arena(void);

#endif
