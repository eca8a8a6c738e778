/* The same on a computer, for the tests' host build. */
#include <stdio.h>
#include <stdlib.h>

#include "host.h"

void host_print(const char *text) { fputs(text, stdout); }

int host_file(const char *name, const void *data, uint32_t size) {
  FILE *file = fopen(name, "wb");
  int failed;
  if (file == NULL) return -1;
  failed = fwrite(data, 1, size, file) != size;
  return fclose(file) || failed ? -1 : 0;
}

uint32_t host_ticks(void) { return 0; }

void host_exit(int status) { exit(status); }
