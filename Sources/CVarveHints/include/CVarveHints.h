/* What a program may tell the processor and Swift has no word for. */
#ifndef VARVE_CVARVEHINTS_H
#define VARVE_CVARVEHINTS_H

/* The cache line at `address` will be read soon. Any address may be named: what is not mapped is not fetched. */
static inline void varve_prefetch(const void *address) { __builtin_prefetch(address, 0, 3); }

#endif
