/* The SIGBUS guard.

   A mapped file whose blocks cannot be read (truncated by somebody, failing device) raises SIGBUS on the touching
   instruction. The handler looks the address up in a fixed table of our ranges; inside one, it maps an anonymous zero
   page over the faulting page, marks the range damaged and returns, and the instruction runs again. Anything else goes
   to whoever had the signal before.

   The handler takes no lock and allocates nothing. Slots are written under a mutex by the threads that add and remove,
   and read by the handler through a sequence number (odd while a slot changes), so it never mixes two ranges. */
#define _GNU_SOURCE
#include "CVarveIO.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SLOT_COUNT = 1 << 16 };

struct slot {
    _Atomic uint32_t sequence;
    _Atomic uint32_t damaged;
    _Atomic uintptr_t begin; /* page aligned; 0 while free */
    _Atomic uintptr_t end;
    _Atomic int protection;
    int32_t next_free; /* under table_lock */
};

static struct slot table[SLOT_COUNT];
static _Atomic int32_t used_slots; /* slots ever used: as far as the handler looks */
static int32_t first_free = -1;    /* under table_lock */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t install_once = PTHREAD_ONCE_INIT;
static struct sigaction previous_action;
static uintptr_t page_size;

/* The slot whose range meets [begin, end), or -1; its protection through `protection`. */
static int32_t find_slot(uintptr_t begin, uintptr_t end, int *protection) {
    int32_t count = atomic_load_explicit(&used_slots, memory_order_acquire);
    for (int32_t i = 0; i < count; i++) {
        struct slot *slot = &table[i];
        for (;;) {
            uint32_t before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
            uintptr_t slot_begin = atomic_load_explicit(&slot->begin, memory_order_relaxed);
            uintptr_t slot_end = atomic_load_explicit(&slot->end, memory_order_relaxed);
            int slot_protection = atomic_load_explicit(&slot->protection, memory_order_relaxed);
            atomic_thread_fence(memory_order_acquire);
            uint32_t after = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
            /* A slot in change belongs to a range that no thread reads yet or any more. */
            if (before & 1) break;
            if (before != after) continue;
            if (slot_begin != 0 && begin < slot_end && slot_begin < end) {
                *protection = slot_protection;
                return i;
            }
            break;
        }
    }
    return -1;
}

static void pass_on(int number, siginfo_t *info, void *context) {
    if (previous_action.sa_flags & SA_SIGINFO) {
        previous_action.sa_sigaction(number, info, context);
    } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
        previous_action.sa_handler(number);
    } else {
        /* Default: the instruction runs again and the process dies of it, with the right signal and place. A signal
           that somebody sent has no instruction to run again. */
        struct sigaction action = {.sa_handler = SIG_DFL};
        sigaction(number, &action, NULL);
        if (info->si_code <= 0) raise(number);
    }
}

static void handle_fault(int number, siginfo_t *info, void *context) {
    int saved = errno;
    if (info->si_code > 0) {
        uintptr_t page = (uintptr_t)info->si_addr & ~(page_size - 1);
        int protection = 0;
        int32_t index = find_slot(page, page + 1, &protection);
        if (index >= 0) {
            /* Marked before the page appears: another thread that reads the zeros finds the mark. */
            atomic_store_explicit(&table[index].damaged, 1, memory_order_seq_cst);
            long mapped = syscall(SYS_mmap, page, page_size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
            if (mapped != -1) {
                errno = saved;
                return;
            }
        }
    }
    errno = saved;
    pass_on(number, info, context);
}

static void install(void) {
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handle_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, NULL, &previous_action);
    sigaction(SIGBUS, &action, NULL);
}

int32_t varve_guard_add(const void *base, size_t length, bool writable) {
    pthread_once(&install_once, install);
    pthread_mutex_lock(&table_lock);
    int32_t index = first_free;
    int32_t used = atomic_load_explicit(&used_slots, memory_order_relaxed);
    if (index >= 0) {
        first_free = table[index].next_free;
    } else if (used < SLOT_COUNT) {
        index = used;
    }
    if (index >= 0) {
        struct slot *slot = &table[index];
        uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
        atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_release);
        atomic_store_explicit(&slot->begin, (uintptr_t)base, memory_order_relaxed);
        atomic_store_explicit(
            &slot->end, ((uintptr_t)base + length + page_size - 1) & ~(page_size - 1), memory_order_relaxed);
        atomic_store_explicit(&slot->protection, writable ? PROT_READ | PROT_WRITE : PROT_READ, memory_order_relaxed);
        atomic_store_explicit(&slot->damaged, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
        if (index == used) atomic_store_explicit(&used_slots, used + 1, memory_order_release);
    }
    pthread_mutex_unlock(&table_lock);
    return index;
}

void varve_guard_remove(int32_t index) {
    pthread_mutex_lock(&table_lock);
    struct slot *slot = &table[index];
    uint32_t sequence = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, sequence + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&slot->begin, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->end, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->sequence, sequence + 2, memory_order_release);
    slot->next_free = first_free;
    first_free = index;
    pthread_mutex_unlock(&table_lock);
}

bool varve_guard_damaged(int32_t index) {
    atomic_signal_fence(memory_order_seq_cst); /* the reads before must stay before */
    return atomic_load_explicit(&table[index].damaged, memory_order_acquire) != 0;
}

bool varve_guard_store(int32_t index, void *destination, const void *source, size_t length) {
    memcpy(destination, source, length);
    atomic_signal_fence(memory_order_seq_cst); /* the copy must stay before the question */
    return atomic_load_explicit(&table[index].damaged, memory_order_acquire) == 0;
}

bool varve_guard_covers(const void *base, size_t length) {
    int protection = 0;
    return find_slot((uintptr_t)base, (uintptr_t)base + length, &protection) >= 0;
}
