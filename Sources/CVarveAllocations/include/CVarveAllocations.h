// Counts what a thread asks the allocator for. A program that links this has its own malloc, calloc, realloc and aligned
// forms in front of the C library's: for tests alone, never in a product.
#ifndef CVARVEALLOCATIONS_H
#define CVARVEALLOCATIONS_H

#include <stdbool.h>
#include <stdint.h>

/// Allocations that the calling thread has made since it began. Grows only where `varve_allocations_are_counted`.
uint64_t varve_allocations_of_this_thread(void);

/// False under a sanitizer, which has an allocator of its own, and with another C library than glibc.
bool varve_allocations_are_counted(void);

/// Bytes that all threads have got of the allocator and not given back; 0 where allocations are not counted.
uint64_t varve_allocated_bytes(void);

#endif
