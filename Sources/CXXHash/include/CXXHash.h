/* XXH3 inlined into Swift. Under XXH_INLINE_ALL xxhash's public names are macros that Swift cannot import, so each
   function that we use has a static inline wrapper here. */
#ifndef VARVE_CXXHASH_H
#define VARVE_CXXHASH_H

#include <stddef.h>
#include <stdint.h>

#if __has_include(<xxhash.h>)
#define XXH_INLINE_ALL
#include <xxhash.h>
#else
#error "xxhash.h is missing: install the package libxxhash-dev (apt-get install libxxhash-dev)"
#endif

/* 64-bit XXH3 of `length` bytes under `seed`. */
static inline uint64_t varve_xxh3_64(const void *bytes, size_t length, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, length, seed);
}

typedef struct {
    uint64_t low;
    uint64_t high;
} varve_hash128;

/* 128-bit XXH3 of `length` bytes under `seed`. */
static inline varve_hash128 varve_xxh3_128(const void *bytes, size_t length, uint64_t seed) {
    XXH128_hash_t h = XXH3_128bits_withSeed(bytes, length, seed);
    varve_hash128 result = {h.low64, h.high64};
    return result;
}

/* A 128-bit hash taken over pieces: create, reset, update, digest, free. */
typedef struct XXH3_state_s varve_xxh3_state;
static inline varve_xxh3_state *varve_xxh3_create(void) { return XXH3_createState(); }
static inline void varve_xxh3_reset(varve_xxh3_state *state) { XXH3_128bits_reset(state); }
static inline void varve_xxh3_update(varve_xxh3_state *state, const void *bytes, size_t length) {
    XXH3_128bits_update(state, bytes, length);
}
static inline varve_hash128 varve_xxh3_digest(const varve_xxh3_state *state) {
    XXH128_hash_t h = XXH3_128bits_digest(state);
    varve_hash128 result = {h.low64, h.high64};
    return result;
}
static inline void varve_xxh3_free(varve_xxh3_state *state) { XXH3_freeState(state); }

#endif
