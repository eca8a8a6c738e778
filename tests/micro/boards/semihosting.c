/* Talks to the debugger, which is QEMU, by Arm's semihosting calls. */
#include "host.h"

enum { OPEN = 1, CLOSE = 2, WRITE0 = 4, WRITE = 5, EXIT_EXTENDED = 0x20 };
enum { WRITE_BINARY = 5, APPLICATION_EXIT = 0x20026 };

static int call(int number, const void *argument) {
  register int r0 __asm("r0") = number;
  register const void *r1 __asm("r1") = argument;
  __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

void host_print(const char *text) { call(WRITE0, text); }

static uint32_t length(const char *text) {
  uint32_t count = 0;
  while (text[count]) count++;
  return count;
}

int host_file(const char *name, const void *data, uint32_t size) {
  uintptr_t open[3], write[3], handle;
  int failed;
  open[0] = (uintptr_t)name;
  open[1] = WRITE_BINARY;
  open[2] = length(name);
  handle = (uintptr_t)call(OPEN, open);
  if (handle == (uintptr_t)-1) return -1;
  write[0] = handle;
  write[1] = (uintptr_t)data;
  write[2] = size;
  failed = call(WRITE, write); /* how many bytes were not written */
  call(CLOSE, &handle);
  return failed ? -1 : 0;
}

void host_exit(int status) {
  uint32_t block[2];
  block[0] = APPLICATION_EXIT;
  block[1] = (uint32_t)status;
  call(EXIT_EXTENDED, block);
  for (;;) {
  }
}
