/* What a test prints, writes to a file of the host, and returns. */
#ifndef HOST_H_
#define HOST_H_

#include <stdint.h>

void host_print(const char *text);
void host_number(int64_t value);

/* Writes a file on the host; returns 0, or -1 if that failed. */
int host_file(const char *name, const void *data, uint32_t size);

/* Ticks since the start; under QEMU with -icount shift=0 one is 40
 * instructions. 0 where a board has no timer of the kind. */
uint32_t host_ticks(void);

void host_exit(int status) __attribute__((noreturn));

#endif
