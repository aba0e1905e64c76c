/* Memory of what the host returns: one arena from the end of static data on, emptied by every receive. */
#include "abi.h"

#define PAGE 65536u

extern unsigned char __heap_base; /* set by the linker */

static size_t arena_used;

static uintptr_t arena_start(void) { return ((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15; }

/* Grows memory up to `end`; traps if that is refused. */
static void reach(uintptr_t end) {
    size_t pages = __builtin_wasm_memory_size(0);
    size_t wanted = end / PAGE + (end % PAGE != 0);
    if (wanted > pages && __builtin_wasm_memory_grow(0, wanted - pages) == (size_t)-1)
        __builtin_trap();
}

/* Called by the host to allocate what it returns. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align,
                                                               size_t size) {
    uintptr_t start = arena_start();
    if (size == 0)
        return (void *)align;
    if (old_size != 0 && (uintptr_t)old + old_size == start + arena_used)
        arena_used = (uintptr_t)old - start; /* the last allocation grows or shrinks in place */
    uintptr_t at = (start + arena_used + align - 1) & ~(uintptr_t)(align - 1);
    if (at < start || size > UINTPTR_MAX - at)
        __builtin_trap();
    reach(at + size);
    if (old_size != 0 && at != (uintptr_t)old)
        __builtin_memcpy((void *)at, old, old_size < size ? old_size : size);
    arena_used = at + size - start;
    return (void *)at;
}

size_t gh_mark(void) { return arena_used; }

void gh_release(size_t mark) {
    if (mark <= arena_used)
        arena_used = mark;
}

void gh_abi_empty_arena(void) { arena_used = 0; }
