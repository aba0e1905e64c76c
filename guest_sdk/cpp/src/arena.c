/* Memory of what the host returns, in a program that has malloc: chunks, all freed by the next receive but the first. */
#include "../../c/src/abi.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 16384u

typedef struct chunk {
    struct chunk *before;
    size_t start; /* bytes in use in the chunks before */
    size_t used;
    size_t size;
} chunk;

_Static_assert(sizeof(chunk) == 16, "what follows it is aligned to 16 bytes");

static chunk *top;

static unsigned char *bytes_of(chunk *each) { return (unsigned char *)(each + 1); }

static void drop_top(void) {
    chunk *dropped = top;
    top = dropped->before;
    free(dropped);
}

static chunk *grown(size_t size) {
    size_t wanted = size < FIRST_BYTES ? FIRST_BYTES : size;
    chunk *made = wanted > SIZE_MAX - sizeof(chunk) ? NULL : malloc(sizeof(chunk) + wanted);
    if (made == NULL)
        __builtin_trap();
    *made = (chunk){top, top == NULL ? 0 : top->start + top->used, 0, wanted};
    return made;
}

/* Called by the host to allocate what it returns. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
    if (size == 0)
        return (void *)align;
    if (top != NULL && old_size != 0 && (unsigned char *)old + old_size == bytes_of(top) + top->used)
        top->used = (size_t)((unsigned char *)old - bytes_of(top)); /* the last allocation grows in place */
    size_t at = top == NULL ? 0 : (top->used + align - 1) & ~(align - 1);
    if (top == NULL || at > top->size || size > top->size - at) {
        top = grown(size);
        at = 0;
    }
    unsigned char *made = bytes_of(top) + at;
    if (old_size != 0 && made != (unsigned char *)old)
        memcpy(made, old, old_size < size ? old_size : size);
    top->used = at + size;
    return made;
}

size_t gh_mark(void) { return top == NULL ? 0 : top->start + top->used; }

void gh_release(size_t mark) {
    while (top != NULL && top->start > mark)
        drop_top();
    if (top != NULL && mark - top->start <= top->used)
        top->used = mark - top->start;
}

void gh_abi_empty_arena(void) {
    while (top != NULL && (top->before != NULL || top->size > FIRST_BYTES))
        drop_top();
    if (top != NULL)
        top->used = 0;
}
