#include "CVarveAllocations.h"

#include <errno.h>
#include <stddef.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VARVE_SANITIZED 1
#endif
#endif

#if defined(__GLIBC__) && !defined(VARVE_SANITIZED)
#define VARVE_COUNTS 1
#endif

static _Thread_local uint64_t allocations;

uint64_t varve_allocations_of_this_thread(void) { return allocations; }

#ifdef VARVE_COUNTS

bool varve_allocations_are_counted(void) { return true; }

uint64_t varve_allocated_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return (uint64_t)info.uordblks + (uint64_t)info.hblkhd;
}

// glibc's own, under their other names. What they give is freed by its free, which stays as it is.
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *pointer, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    allocations += 1;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    allocations += 1;
    return __libc_calloc(count, size);
}

void *realloc(void *pointer, size_t size) {
    allocations += 1;
    return __libc_realloc(pointer, size);
}

void *memalign(size_t alignment, size_t size) {
    allocations += 1;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    allocations += 1;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **pointer, size_t alignment, size_t size) {
    allocations += 1;
    if (alignment % sizeof(void *) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
    void *given = __libc_memalign(alignment, size);
    if (given == NULL) return ENOMEM;
    *pointer = given;
    return 0;
}

#else

bool varve_allocations_are_counted(void) { return false; }

uint64_t varve_allocated_bytes(void) { return 0; }

#endif
