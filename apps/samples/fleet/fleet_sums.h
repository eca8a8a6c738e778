/* The sums of a device for a fleet's one round, and the file that it sends.

Whole numbers alone, no heap, nothing but C99: copy this header and fleet_sums.c
into your firmware. docs/fleet.md has the format byte by byte. */

#ifndef FLEET_SUMS_H_
#define FLEET_SUMS_H_

#include <stddef.h>
#include <stdint.h>

/* How many numbers the sums of a head have: D inputs, C classes. */
#define FLEET_NUMBERS(D, C) ((D) + (D) * ((D) + 1) / 2 + (C) + (C) * (D))

typedef struct {
  int32_t inputs;      /* D: what the last layer reads */
  int32_t classes;     /* C */
  int32_t zero_point;  /* of what it reads */
  uint32_t samples;    /* so far */
  int64_t *numbers;    /* FLEET_NUMBERS(D, C) of them, all 0 to begin with */
} FleetSums;

/* Takes in a sample: what the last layer reads, int8 [D], and its class. */
void fleet_add(FleetSums *sums, const int8_t *x, int32_t label);

/* Takes the bytes of a file, one after another: to flash, to a serial line. */
typedef void (*FleetPut)(void *to, uint8_t byte);

/* Writes the file of sums.

plan: the first 16 bytes of the SHA-256 of the plan's file.
masters: the first 16 bytes of the SHA-256 of the shared masters.
name: of this device in the fleet, 1 to 64 bytes of UTF-8. */
void fleet_write(const FleetSums *sums, const uint8_t plan[16],
                 const uint8_t masters[16], const char *name, FleetPut put,
                 void *to);

#endif
