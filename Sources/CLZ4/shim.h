/* The door to Debian's liblz4. A missing header is reported with the package that brings it. */
#if __has_include(<lz4.h>)
#include <lz4.h>
#else
#error "lz4.h is missing: install the package liblz4-dev (apt-get install liblz4-dev)"
#endif
