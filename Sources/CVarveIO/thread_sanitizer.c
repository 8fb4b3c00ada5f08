#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Nothing but in builds with the thread sanitizer.
 *
 * `Synchronization.Mutex` takes and gives back a free lock by a compare-and-exchange that is inlined into our code, which the
 * sanitizer sees, and a contended one within a library that is not instrumented: whoever waited for a lock would seem to
 * race with its last holder. These stand in front of the library's functions, call them, and tell the sanitizer.
 * The names are those of swift/stdlib/public/Synchronization/Mutex/LinuxImpl.swift, mangled; should a new toolchain
 * rename them, the program no longer goes through here, and the thread sanitizer's slice of the tests says so.
 */

#define SWIFT_CALL __attribute__((swiftcall))
#define SWIFT_SELF __attribute__((swift_context))

#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK_SLOW "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

extern void __tsan_acquire(void *address);
extern void __tsan_release(void *address);

typedef SWIFT_CALL void LockSlow(uint32_t thread, SWIFT_SELF void *handle);
typedef SWIFT_CALL bool TryLockSlow(SWIFT_SELF void *handle);
typedef SWIFT_CALL void UnlockSlow(SWIFT_SELF void *handle);

LockSlow varve_lock_slow __asm__(LOCK_SLOW);
TryLockSlow varve_try_lock_slow __asm__(TRY_LOCK_SLOW);
UnlockSlow varve_unlock_slow __asm__(UNLOCK_SLOW);

/* Looked up each time: only contended locks come here, and a lookup takes no lock of ours. */
SWIFT_CALL void varve_lock_slow(uint32_t thread, SWIFT_SELF void *handle) {
    ((LockSlow *)dlsym(RTLD_NEXT, LOCK_SLOW))(thread, handle);
    __tsan_acquire(handle);
}

SWIFT_CALL bool varve_try_lock_slow(SWIFT_SELF void *handle) {
    bool isTaken = ((TryLockSlow *)dlsym(RTLD_NEXT, TRY_LOCK_SLOW))(handle);
    if (isTaken) __tsan_acquire(handle);
    return isTaken;
}

SWIFT_CALL void varve_unlock_slow(SWIFT_SELF void *handle) {
    __tsan_release(handle);
    ((UnlockSlow *)dlsym(RTLD_NEXT, UNLOCK_SLOW))(handle);
}

#endif
#endif
