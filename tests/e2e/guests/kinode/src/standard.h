/* `process/standard` as the canonical ABI lays it out, for the versions that ERA names: 7 is 0.7.0, 8 is 0.8.0,
 * 10 is 1.0.0, 20 is the first of Hyperware. STANDARD is the interface's full name, WASI the version of WASI. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { const char *ptr; size_t len; } text;
typedef struct { bool some; text value; } option_text;
typedef struct { bool some; uint64_t value; } option_u64;
typedef struct { text process, package, publisher; } process_id;
typedef struct { text node; process_id process; } address;
typedef struct { option_text mime; text bytes; } blob;
typedef struct { bool some; blob value; } option_blob;
typedef struct { address issuer; text params; } capability;
typedef struct { const capability *ptr; size_t len; } capabilities;

typedef struct {
    bool inherit;
    option_u64 expects_response;
    text body;
    option_text metadata;
    capabilities capabilities;
} request;

typedef struct {
    bool inherit;
    text body;
    option_text metadata;
    capabilities capabilities;
} response;

typedef struct {
    uint8_t is_response;
    union {
        request request;
        struct { response response; option_text context; };
    };
} message;

typedef struct {
    uint8_t kind;
#if ERA >= 10
    address target;
#endif
    message message;
    option_blob blob;
} send_error;

typedef struct {
    uint8_t failed;
    union {
        struct { address source; message message; };
        struct { send_error error; option_text context; };
    };
} received;

typedef struct {
    uint8_t failed;
    union {
        struct { address source; message message; };
        send_error error;
    };
} answer;

_Static_assert(sizeof(request) == 56 && sizeof(response) == 32 && sizeof(message) == 64, "message");
_Static_assert(sizeof(send_error) == (ERA >= 10 ? 128 : 96), "send-error");

typedef struct { address target; request request; option_text context; option_blob blob; } sent;
typedef struct { address target; request request; option_blob blob; } asked;
typedef struct { uint8_t kind; capabilities requests; } on_exit_setting;
typedef struct { uint8_t failed; union { process_id process; uint8_t error; }; } spawned;
typedef struct { uint64_t seconds; uint32_t nanoseconds; } datetime;

#define IMPORT(interface, function) __attribute__((import_module(interface), import_name(function)))

IMPORT(STANDARD, "print-to-terminal") void print_to_terminal(int verbosity, const char *text, size_t len);
IMPORT(STANDARD, "get-on-exit") void get_on_exit(on_exit_setting *result);
IMPORT(STANDARD, "set-on-exit") void set_on_exit(int kind, const void *requests, size_t len);
IMPORT(STANDARD, "get-state") void get_state(option_text *result);
IMPORT(STANDARD, "set-state") void set_state(const char *bytes, size_t len);
IMPORT(STANDARD, "clear-state") void clear_state(void);
IMPORT(STANDARD, "save-capabilities") void save_capabilities(const capability *caps, size_t len);
IMPORT(STANDARD, "our-capabilities") void our_capabilities(capabilities *result);
IMPORT(STANDARD, "spawn")
void spawn(int has_name, const char *name, size_t name_len, const char *path, size_t path_len, int on_exit,
           const void *requests, size_t requests_len, const capability *wanted, size_t wanted_len,
           const void *granted, size_t granted_len, int is_public, spawned *result);
IMPORT(STANDARD, "receive") void receive(received *result);
IMPORT(STANDARD, "get-blob") void get_blob(option_blob *result);
IMPORT(STANDARD, "send-request") void send_request(const sent *arguments);
IMPORT(STANDARD, "send-requests") void send_requests(const sent *requests, size_t len);
IMPORT(STANDARD, "send-response")
void send_response(int inherit, const char *body, size_t body_len, int has_metadata, const char *metadata,
                   size_t metadata_len, const capability *caps, size_t caps_len, int has_blob, int has_mime,
                   const char *mime, size_t mime_len, const char *bytes, size_t bytes_len);
IMPORT(STANDARD, "send-and-await-response") void send_and_await_response(const asked *arguments, answer *result);
#if ERA >= 8
IMPORT(STANDARD, "drop-capabilities") void drop_capabilities(const capability *caps, size_t len);
#endif
#if ERA >= 10
IMPORT(STANDARD, "our") void our(address *result);
#endif
#if ERA >= 20
IMPORT(STANDARD, "has-blob") bool has_blob(void);
IMPORT(STANDARD, "last-blob") void last_blob(option_blob *result);
#endif

IMPORT("wasi:random/random@" WASI, "get-random-u64") uint64_t get_random_u64(void);
IMPORT("wasi:random/random@" WASI, "get-random-bytes") void get_random_bytes(uint64_t len, text *result);
IMPORT("wasi:clocks/wall-clock@" WASI, "now") void wall_clock_now(datetime *result);
IMPORT("wasi:clocks/monotonic-clock@" WASI, "now") uint64_t monotonic_clock_now(void);

/* ---- what a program needs besides ------------------------------------------------------------------ */

extern unsigned char __heap_base; /* set by the linker */
static size_t heap_used;

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align,
                                                               size_t size) {
    uintptr_t at = ((uintptr_t)&__heap_base + heap_used + align - 1) & ~(uintptr_t)(align - 1);
    uintptr_t end = at + size;
    size_t pages = __builtin_wasm_memory_size(0);
    if (end > pages * 65536 && __builtin_wasm_memory_grow(0, (end - pages * 65536) / 65536 + 1) == (size_t)-1)
        __builtin_trap();
    if (old_size != 0)
        __builtin_memcpy((void *)at, old, old_size < size ? old_size : size);
    heap_used = end - (uintptr_t)&__heap_base;
    return (void *)at;
}

/* clang turns loops and struct copies into calls of these. */
void *memcpy(void *to, const void *from, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}

void *memset(void *to, int byte, size_t size) {
    for (size_t i = 0; i < size; i++)
        ((volatile char *)to)[i] = (char)byte;
    return to;
}

static inline text t(const char *words) {
    size_t len = 0;
    while (words[len] != '\0')
        len++;
    return (text){words, len};
}

static inline bool same(text a, text b) {
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (a.ptr[i] != b.ptr[i])
            return false;
    return true;
}

/* Where `part` begins in `whole`; -1 when it is not in it. */
static inline long find(text whole, const char *part) {
    text wanted = t(part);
    for (size_t i = 0; i + wanted.len <= whole.len; i++)
        if (same((text){whole.ptr + i, wanted.len}, wanted))
            return (long)i;
    return -1;
}

static inline bool has(text whole, const char *part) { return find(whole, part) >= 0; }

/* The number behind `key`. */
static inline uint32_t number_after(text whole, const char *key) {
    long at = find(whole, key);
    if (at < 0)
        __builtin_trap();
    uint32_t value = 0;
    for (size_t i = (size_t)at + t(key).len; i < whole.len && whole.ptr[i] >= '0' && whole.ptr[i] <= '9'; i++)
        value = 10 * value + (uint32_t)(whole.ptr[i] - '0');
    return value;
}

/* A text that is put together in a buffer of its own. */
typedef struct { char bytes[2048]; size_t len; } writer;

static inline void add(writer *out, text words) {
    if (out->len + words.len > sizeof out->bytes)
        __builtin_trap();
    memcpy(out->bytes + out->len, words.ptr, words.len);
    out->len += words.len;
}

static inline void add_number(writer *out, uint64_t value) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    add(out, (text){digits + at, sizeof digits - at});
}

static inline text written(const writer *out) { return (text){out->bytes, out->len}; }

static inline void print(const char *words, text more) {
    writer line = {.len = 0};
    add(&line, t(words));
    add(&line, more);
    print_to_terminal(0, line.bytes, line.len);
}
