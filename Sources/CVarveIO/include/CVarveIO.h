/* The small C target of VarveIO: what Swift cannot say. */
#ifndef VARVE_CVARVEIO_H
#define VARVE_CVARVEIO_H
#endif
