/* The small C target of VarveIO: the SIGBUS guard, which must be C, and the few Linux calls that Swift's Glibc module
   does not show. Swift wraps every one of these; nothing else includes this header. */
#ifndef VARVE_CVARVEIO_H
#define VARVE_CVARVEIO_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- The SIGBUS guard (fault_guard.c) ---- */

/* Puts [base, base + length) under guard: a SIGBUS inside it maps a zero page over the faulting one and marks the range
   damaged. Installs the handler at the first call. Returns a slot number, or -1 when the table is full. */
int32_t varve_guard_add(const void *base, size_t length, bool writable);

/* Takes a range out of guard. No thread may touch the range any more. */
void varve_guard_remove(int32_t slot);

/* Whether a fault was caught in the range. To be asked after reading, before trusting. */
bool varve_guard_damaged(int32_t slot);

/* Copies into a guarded range; false where the range is damaged, before or by this copy. */
bool varve_guard_store(int32_t slot, void *destination, const void *source, size_t length);

/* Whether any byte of [base, base + length) lies in a guarded range. */
bool varve_guard_covers(const void *base, size_t length);

/* ---- Linux calls (linux_calls.c); all return 0 or the error number ---- */

int varve_fallocate(int fd, uint64_t length);
/* The f_type of the file system that holds `fd`. */
int varve_file_system_type(int fd, uint64_t *type);
int varve_free_bytes(const char *path, uint64_t *bytes);
/* flock(LOCK_NB), LOCK_SH or LOCK_EX; EWOULDBLOCK while another open file description holds it against that. */
int varve_try_lock(int fd, bool shared);
/* Whether `path` still names the file that `fd` has open. */
int varve_names_same_file(int fd, const char *path, bool *same);
/* The first hole at or after `offset`, as [start, end) within `size`; start = end = size where there is none. */
int varve_next_hole(int fd, uint64_t offset, uint64_t size, uint64_t *start, uint64_t *end);
/* Fills the buffer from the page cache without waiting for the device; EAGAIN where not all of it is there, EOPNOTSUPP
   where the file system cannot tell. */
int varve_read_cached(int fd, void *buffer, size_t length, uint64_t offset);
/* Whether all pages of [base, base + length) are in memory. */
int varve_is_resident(const void *base, size_t length, bool *resident);

/* Starts a joinable thread that runs body(context), named by at most 15 bytes of `name`, with every signal blocked
   that is not the consequence of its own doing: an application's handlers run on the application's threads. */
int varve_thread_start(pthread_t *thread, const char *name, void (*body)(void *), void *context);

#endif
