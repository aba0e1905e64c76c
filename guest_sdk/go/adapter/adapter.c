/* The system calls of Go's runtime (WASI preview 1), over what a process has: its log, the clocks and randomness.
 *
 * Its module shares the memory of Go's. Go takes all of it that it sees, and whatever is added, for its own, but for the
 * first 4 KiB. So this has neither variables nor a stack, for which wasm-tools would add memory, but a place there. */
#include <stddef.h>
#include <stdint.h>

#include "../../c/src/wasi_calls.h"

#define IMPORT(interface, function) __attribute__((import_module(interface), import_name(function)))
#define EXPORT(function) __attribute__((export_name(#function)))

typedef struct {
    uint64_t seconds;
    uint32_t nanoseconds;
} date_time;

/* The one variable. */
typedef struct {
    date_time now; /* what the clock returned */
    uint64_t last[2]; /* times of the clocks, when they were asked last */
    uint32_t allocating;
} own;

#define OWN ((volatile own *)1024)

/* While the host has Go allocate what it returns, Go may not call it: its collector does, for the time. */
EXPORT(guesthouse_allocating) void guesthouse_allocating(uint32_t allocating) { OWN->allocating = allocating; }

/* ---- text that is printed ------------------------------------------------------------------------- */

typedef struct {
    const unsigned char *ptr;
    size_t len;
} part;

IMPORT("guesthouse:process/system@0.1.0", "print") void host_print(int verbosity, const unsigned char *text, size_t len);

/* A log line for each line; what is not UTF-8, which the host does not take, parts one, too. */
static void print(int verbosity, const unsigned char *text, size_t len) {
    size_t from = 0, i = 0;
    while (i < len) {
        size_t bytes = text[i] == '\n' ? 0 : character_bytes(text + i, len - i);
        if (bytes > 0) {
            i += bytes;
            continue;
        }
        if (i > from)
            host_print(verbosity, text + from, i - from);
        from = ++i;
    }
    if (i > from)
        host_print(verbosity, text + from, i - from);
}

EXPORT(fd_write) int32_t fd_write(int32_t file, const part *parts, int32_t count, size_t *written) {
    if (file != 1 && file != 2)
        return BAD_FILE;
    *written = 0;
    for (int32_t i = 0; i < count; i++) {
        print(file == 1 ? 2 : 1, parts[i].ptr, parts[i].len);
        *written += parts[i].len;
    }
    return SUCCESS;
}

/* ---- clocks and randomness ------------------------------------------------------------------------ */

IMPORT("wasi:clocks/wall-clock@0.2.12", "now") void host_wall_clock(volatile date_time *result);
IMPORT("wasi:clocks/monotonic-clock@0.2.12", "now") uint64_t host_monotonic_clock(void);
IMPORT("wasi:random/random@0.2.12", "get-random-u64") uint64_t host_random_u64(void);

EXPORT(clock_time_get) int32_t clock_time_get(int32_t clock, int64_t precision, uint64_t *nanoseconds) {
    (void)precision;
    if (clock != 0 && clock != 1)
        return INVALID;
    if (!OWN->allocating && clock == 1) {
        OWN->last[1] = host_monotonic_clock();
    } else if (!OWN->allocating) {
        host_wall_clock(&OWN->now);
        OWN->last[0] = OWN->now.seconds * 1000000000 + OWN->now.nanoseconds;
    }
    *nanoseconds = OWN->last[clock];
    return SUCCESS;
}

EXPORT(random_get) int32_t random_get(uint8_t *place, size_t len) {
    uint64_t drawn = 0;
    for (size_t i = 0; i < len; i++) {
        if (i % 8 == 0)
            drawn = host_random_u64();
        place[i] = (uint8_t)(drawn >> (i % 8 * 8));
    }
    return SUCCESS;
}

/* ---- what a process does not have ----------------------------------------------------------------- */

static int32_t none(size_t *count, size_t *bytes) {
    *count = *bytes = 0;
    return SUCCESS;
}

EXPORT(args_sizes_get) int32_t args_sizes_get(size_t *count, size_t *bytes) { return none(count, bytes); }
EXPORT(environ_sizes_get) int32_t environ_sizes_get(size_t *count, size_t *bytes) { return none(count, bytes); }
EXPORT(args_get) int32_t args_get(int32_t list, int32_t bytes) { return (void)list, (void)bytes, SUCCESS; }
EXPORT(environ_get) int32_t environ_get(int32_t list, int32_t bytes) { return (void)list, (void)bytes, SUCCESS; }
EXPORT(sched_yield) int32_t sched_yield(void) { return SUCCESS; }
EXPORT(proc_exit) _Noreturn void proc_exit(int32_t code) { (void)code, __builtin_trap(); }

typedef struct {
    uint8_t type;
    uint16_t flags;
    uint64_t rights;
    uint64_t inherited_rights;
} file_status;

/* Something to write to, or to read nothing from. */
EXPORT(fd_fdstat_get) int32_t fd_fdstat_get(int32_t file, file_status *status) {
    if (file < 0 || file > 2)
        return BAD_FILE;
    status->type = 2;
    status->flags = 0;
    status->rights = file == 0 ? 1 << 1 : 1 << 6;
    status->inherited_rights = 0;
    return SUCCESS;
}

EXPORT(fd_read) int32_t fd_read(int32_t file, const part *parts, int32_t count, size_t *read) {
    (void)parts, (void)count;
    *read = 0;
    return file == 0 ? SUCCESS : BAD_FILE;
}

EXPORT(clock_res_get) int32_t clock_res_get(int32_t clock, uint64_t *nanoseconds) {
    *nanoseconds = 1;
    return clock == 0 || clock == 1 ? SUCCESS : INVALID;
}

#define REFUSED(function, error, ...) \
    EXPORT(function) int32_t function(__VA_ARGS__) { return error; }

#pragma clang diagnostic ignored "-Wc23-extensions"
REFUSED_CALLS(REFUSED)

/* Go's runtime waits by it when every goroutine sleeps. */
typedef struct {
    uint64_t data;
    uint8_t tag; /* 0: a clock */
    uint8_t padding[7];
    uint32_t clock;
    uint64_t timeout; /* nanoseconds */
    uint64_t precision;
    uint16_t flags; /* 1: the time itself, not from now on */
} subscription;

typedef struct {
    uint64_t data;
    uint16_t error;
    uint8_t type;
    uint8_t rest[21];
} event;

IMPORT("wasi:clocks/monotonic-clock@0.2.12", "subscribe-duration") int32_t host_subscribe(uint64_t nanoseconds);
IMPORT("wasi:io/poll@0.2.12", "[method]pollable.block") void host_block(int32_t pollable);
IMPORT("wasi:io/poll@0.2.12", "[resource-drop]pollable") void host_drop(int32_t pollable);

EXPORT(poll_oneoff) int32_t poll_oneoff(const subscription *wanted, event *happened, int32_t count, size_t *events) {
    if (count != 1 || wanted->tag != 0 || wanted->flags != 0)
        return INVALID;
    if (!OWN->allocating) { /* else it asks again */
        int32_t pollable = host_subscribe(wanted->timeout);
        host_block(pollable);
        host_drop(pollable);
    }
    happened->data = wanted->data;
    happened->error = 0;
    happened->type = 0;
    *events = 1;
    return SUCCESS;
}
