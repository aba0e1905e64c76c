/* The system calls of the C library, over what a process has: its log, the clocks and randomness. There is nothing
 * else: files and sockets fail, and to sleep is not supported. */
#include "../../c/src/abi.h"
#include "../../c/src/wasi_calls.h"

#include <string.h>

/* A function has two names: that by which the C library calls it, and that by which its parts in Zig do. */
#define NAMED(function) __imported_wasi_snapshot_preview1_##function
#define CALLED_BY_ZIG(function)                                                              \
    extern __typeof__(NAMED(function)) of_zig_##function                                     \
        __asm__(#function "|wasi_snapshot_preview1")                                         \
            __attribute__((alias("__imported_wasi_snapshot_preview1_" #function)));

/* ---- text that is printed: a log line for each line --------------------------------------------- */

typedef struct {
    const char *ptr;
    size_t len;
} part;

typedef struct {
    char text[1024];
    size_t len;
} line;

static line lines[2]; /* of standard output and standard error */

/* The host takes nothing but UTF-8. */
static void put_line(int32_t file) {
    line *waiting = &lines[file - 1];
    for (size_t i = 0, bytes; i < waiting->len; i += bytes > 0 ? bytes : 1) {
        bytes = character_bytes((const unsigned char *)waiting->text + i, waiting->len - i);
        if (bytes == 0)
            waiting->text[i] = '?';
    }
    gh_print(file == 1 ? GH_INFO : GH_WARNING, (gh_string){waiting->text, waiting->len});
    waiting->len = 0;
}

static void put(int32_t file, char character) {
    line *waiting = &lines[file - 1];
    if (character == '\n') {
        put_line(file);
        return;
    }
    /* A long line is parted between characters, not within one. */
    if (waiting->len + 4 > sizeof waiting->text && ((unsigned char)character & 0xC0) != 0x80)
        put_line(file);
    if (waiting->len < sizeof waiting->text)
        waiting->text[waiting->len++] = character;
}

int32_t NAMED(fd_write)(int32_t file, const part *parts, int32_t count, size_t *written) {
    if (file != 1 && file != 2)
        return BAD_FILE;
    *written = 0;
    for (int32_t i = 0; i < count; i++) {
        for (size_t k = 0; k < parts[i].len; k++)
            put(file, parts[i].ptr[k]);
        *written += parts[i].len;
    }
    return SUCCESS;
}

typedef struct {
    uint8_t type;
    uint16_t flags;
    uint64_t rights;
    uint64_t inherited_rights;
} file_status;

/* A terminal, so that the C library writes each line at once. */
int32_t NAMED(fd_fdstat_get)(int32_t file, file_status *status) {
    if (file < 0 || file > 2)
        return BAD_FILE;
    *status = (file_status){.type = 2, .rights = file == 0 ? 1 << 1 : 1 << 6};
    return SUCCESS;
}

int32_t NAMED(fd_read)(int32_t file, const part *parts, int32_t count, size_t *read) {
    (void)parts, (void)count;
    *read = 0;
    return file == 0 ? SUCCESS : BAD_FILE;
}

/* ---- clocks and randomness ------------------------------------------------------------------------ */

typedef struct {
    uint64_t seconds;
    uint32_t nanoseconds;
} date_time;

IMPORT("wasi:clocks/wall-clock@0.2.12", "now") void host_wall_clock(date_time *result);
IMPORT("wasi:clocks/monotonic-clock@0.2.12", "now") uint64_t host_monotonic_clock(void);
IMPORT("wasi:random/random@0.2.12", "get-random-bytes") void host_random_bytes(uint64_t len, gh_bytes *result);

int32_t NAMED(clock_time_get)(int32_t clock, int64_t precision, uint64_t *nanoseconds) {
    (void)precision;
    if (clock == 1) {
        *nanoseconds = host_monotonic_clock();
        return SUCCESS;
    }
    if (clock != 0)
        return INVALID;
    date_time now;
    host_wall_clock(&now);
    *nanoseconds = now.seconds * 1000000000 + now.nanoseconds;
    return SUCCESS;
}

int32_t NAMED(clock_res_get)(int32_t clock, uint64_t *nanoseconds) {
    *nanoseconds = 1;
    return clock == 0 || clock == 1 ? SUCCESS : INVALID;
}

int32_t NAMED(random_get)(uint8_t *place, size_t len) {
    size_t mark = gh_mark();
    gh_bytes bytes;
    host_random_bytes(len, &bytes);
    memcpy(place, bytes.ptr, bytes.len < len ? bytes.len : len);
    gh_release(mark);
    return SUCCESS;
}

/* ---- what a process does not have ----------------------------------------------------------------- */

_Noreturn void NAMED(proc_exit)(int32_t code) {
    (void)code;
    __builtin_trap();
}

static int32_t none(size_t *count, size_t *bytes) {
    *count = *bytes = 0;
    return SUCCESS;
}

int32_t NAMED(args_sizes_get)(size_t *count, size_t *bytes) { return none(count, bytes); }
int32_t NAMED(environ_sizes_get)(size_t *count, size_t *bytes) { return none(count, bytes); }
int32_t NAMED(args_get)(int32_t a, int32_t b) { return (void)a, (void)b, SUCCESS; }
int32_t NAMED(environ_get)(int32_t a, int32_t b) { return (void)a, (void)b, SUCCESS; }
int32_t NAMED(sched_yield)(void) { return SUCCESS; }
int32_t NAMED(poll_oneoff)(int32_t a, int32_t b, int32_t c, int32_t d) {
    return (void)a, (void)b, (void)c, (void)d, NOT_SUPPORTED;
}

#define REFUSED(function, error, ...) \
    int32_t NAMED(function)(__VA_ARGS__) { return error; } \
    CALLED_BY_ZIG(function)

#pragma clang diagnostic ignored "-Wc2x-extensions"
#pragma clang diagnostic ignored "-Wc23-extensions"
REFUSED_CALLS(REFUSED)

CALLED_BY_ZIG(fd_write)
CALLED_BY_ZIG(fd_fdstat_get)
CALLED_BY_ZIG(fd_read)
CALLED_BY_ZIG(clock_time_get)
CALLED_BY_ZIG(clock_res_get)
CALLED_BY_ZIG(random_get)
CALLED_BY_ZIG(proc_exit)
CALLED_BY_ZIG(args_sizes_get)
CALLED_BY_ZIG(environ_sizes_get)
CALLED_BY_ZIG(args_get)
CALLED_BY_ZIG(environ_get)
CALLED_BY_ZIG(sched_yield)
CALLED_BY_ZIG(poll_oneoff)
