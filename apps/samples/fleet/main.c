/* Reads samples from standard input and writes their sums to standard output.

  ./sums D C ZERO_POINT PLAN MASTERS NAME < samples > sums.bin

A sample is a byte, its class, and D bytes, what the last layer reads. PLAN and
MASTERS are 32 hexadecimal digits each. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet_sums.h"

enum { MOST_INPUTS = 256, MOST_CLASSES = 32 };

static int64_t numbers[FLEET_NUMBERS(MOST_INPUTS, MOST_CLASSES)];

static void put(void *to, uint8_t byte) { fputc(byte, (FILE *)to); }

static int hex(const char *text, uint8_t bytes[16]) {
  if (strlen(text) != 32) return 0;
  for (int i = 0; i < 16; i++) {
    unsigned byte;
    if (sscanf(text + 2 * i, "%2x", &byte) != 1) return 0;
    bytes[i] = (uint8_t)byte;
  }
  return 1;
}

int main(int argc, char **argv) {
  uint8_t plan[16], masters[16];
  int8_t x[MOST_INPUTS];
  if (argc != 7 || !hex(argv[4], plan) || !hex(argv[5], masters)) {
    fprintf(stderr, "sums D C ZERO_POINT PLAN MASTERS NAME\n");
    return 2;
  }
  FleetSums sums = {atoi(argv[1]), atoi(argv[2]), atoi(argv[3]), 0, numbers};
  if (sums.inputs < 1 || sums.inputs > MOST_INPUTS || sums.classes < 1 ||
      sums.classes > MOST_CLASSES) {
    fprintf(stderr, "need 1 to %d inputs and 1 to %d classes\n", MOST_INPUTS,
            MOST_CLASSES);
    return 1;
  }
  for (int label; (label = getchar()) != EOF;) {
    if (label >= sums.classes ||
        fread(x, 1, (size_t)sums.inputs, stdin) != (size_t)sums.inputs) {
      fprintf(stderr, "sample %u: class %d, or cut off\n",
              (unsigned)sums.samples, label);
      return 1;
    }
    fleet_add(&sums, x, label);
  }
  fleet_write(&sums, plan, masters, argv[6], put, stdout);
  return fflush(stdout) != 0;
}
