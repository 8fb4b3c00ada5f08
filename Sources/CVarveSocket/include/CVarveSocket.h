/* What glibc declares under _GNU_SOURCE only, which Swift's Glibc module therefore lacks: accept4, SO_PEERCRED's
   structure, eventfd, the program's name. Each returns what the call returns and leaves errno as it left it. */
#ifndef VARVE_CVARVESOCKET_H
#define VARVE_CVARVESOCKET_H

#include <stdint.h>

/* The next caller of a listening socket, close-on-exec and non-blocking; -1 and errno. */
int varve_socket_accept(int listener);

/* The peer of a connected unix socket; 0, or -1 and errno. */
int varve_socket_peer(int connection, int32_t *process, uint32_t *user, uint32_t *group);

/* A counter that poll can wait for, close-on-exec and non-blocking; -1 and errno. */
int varve_event_create(void);

/* The program's short name; lives as long as the process. */
const char *varve_program_name(void);

#endif
