/* Linux calls that Swift's Glibc module does not show or cannot call as they are. */
#define _GNU_SOURCE
#include "CVarveIO.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

int varve_fallocate(int fd, uint64_t length) {
    int result;
    do {
        result = fallocate(fd, 0, 0, (off_t)length);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

int varve_file_system_type(int fd, uint64_t *type) {
    struct statfs info;
    if (fstatfs(fd, &info) != 0) return errno;
    *type = (uint64_t)info.f_type;
    return 0;
}

int varve_free_bytes(const char *path, uint64_t *bytes) {
    struct statvfs info;
    if (statvfs(path, &info) != 0) return errno;
    *bytes = (uint64_t)info.f_bavail * (uint64_t)info.f_frsize;
    return 0;
}

int varve_try_lock(int fd, bool shared) {
    int result;
    do {
        result = flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

int varve_names_same_file(int fd, const char *path, bool *same) {
    struct stat open_file, named_file;
    *same = false;
    if (fstat(fd, &open_file) != 0) return errno;
    if (stat(path, &named_file) != 0) return errno == ENOENT ? 0 : errno;
    *same = open_file.st_dev == named_file.st_dev && open_file.st_ino == named_file.st_ino;
    return 0;
}

int varve_next_hole(int fd, uint64_t offset, uint64_t size, uint64_t *start, uint64_t *end) {
    *start = *end = size;
    off_t hole = lseek(fd, (off_t)offset, SEEK_HOLE);
    if (hole < 0) return errno == ENXIO ? 0 : errno;
    if ((uint64_t)hole >= size) return 0;
    off_t data = lseek(fd, hole, SEEK_DATA);
    if (data < 0 && errno != ENXIO) return errno;
    *start = (uint64_t)hole;
    *end = data < 0 || (uint64_t)data > size ? size : (uint64_t)data;
    return 0;
}

int varve_read_cached(int fd, void *buffer, size_t length, uint64_t offset) {
    struct iovec part = {buffer, length};
    ssize_t count = preadv2(fd, &part, 1, (off_t)offset, RWF_NOWAIT);
    if (count < 0) return errno;
    return (size_t)count == length ? 0 : EAGAIN;
}

int varve_is_resident(const void *base, size_t length, bool *resident) {
    enum { CHUNK = 1024 };
    unsigned char pages[CHUNK];
    size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t at = (uintptr_t)base & ~(page_size - 1);
    uintptr_t end = (uintptr_t)base + length;
    *resident = true;
    while (at < end) {
        size_t count = (end - at + page_size - 1) / page_size;
        if (count > CHUNK) count = CHUNK;
        if (mincore((void *)at, count * page_size, pages) != 0) return errno;
        for (size_t i = 0; i < count; i++) {
            if (!(pages[i] & 1)) {
                *resident = false;
                return 0;
            }
        }
        at += count * page_size;
    }
    return 0;
}

struct start {
    void (*body)(void *);
    void *context;
    char name[16];
};

static void *run_thread(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    pthread_setname_np(pthread_self(), start.name);
    start.body(start.context);
    return NULL;
}

int varve_thread_start(pthread_t *thread, const char *name, void (*body)(void *), void *context) {
    static const int own_doing[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
    struct start *start = calloc(1, sizeof *start);
    if (start == NULL) return ENOMEM;
    start->body = body;
    start->context = context;
    strncpy(start->name, name, sizeof start->name - 1);

    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof own_doing / sizeof own_doing[0]; i++) sigdelset(&blocked, own_doing[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int code = pthread_create(thread, NULL, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) free(start);
    return code;
}
