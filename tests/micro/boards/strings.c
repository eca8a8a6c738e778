/* What a compiler may call for copies, where there is no C library. */
#include <stddef.h>

void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *a, const void *b, size_t count);

/* Volatile, so that the loops are not turned into calls of themselves. */
void *memcpy(void *to, const void *from, size_t count) {
  volatile unsigned char *out = (volatile unsigned char *)to;
  const unsigned char *in = (const unsigned char *)from;
  while (count--) *out++ = *in++;
  return to;
}

void *memmove(void *to, const void *from, size_t count) {
  volatile unsigned char *out = (volatile unsigned char *)to;
  const unsigned char *in = (const unsigned char *)from;
  if (out <= in) return memcpy(to, from, count);
  while (count--) out[count] = in[count];
  return to;
}

void *memset(void *to, int value, size_t count) {
  volatile unsigned char *out = (volatile unsigned char *)to;
  while (count--) *out++ = (unsigned char)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t count) {
  const unsigned char *x = (const unsigned char *)a;
  const unsigned char *y = (const unsigned char *)b;
  for (; count; count--, x++, y++) {
    if (*x != *y) return *x < *y ? -1 : 1;
  }
  return 0;
}
