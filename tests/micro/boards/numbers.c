/* Prints whole numbers, without a library. */
#include "host.h"

void host_number(int64_t value) {
  char digits[24];
  int at = 23;
  uint64_t rest = value < 0 ? 0u - (uint64_t)value : (uint64_t)value;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + rest % 10u);
    rest /= 10u;
  } while (rest);
  if (value < 0) digits[--at] = '-';
  host_print(digits + at);
}
