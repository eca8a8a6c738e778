#include "fleet_sums.h"

#include <string.h>

void fleet_add(FleetSums *sums, const int8_t *x, int32_t label) {
  const int32_t d = sums->inputs, z = sums->zero_point;
  int64_t *inputs = sums->numbers;
  int64_t *products = inputs + d;
  int64_t *counts = products + (size_t)d * (d + 1) / 2;
  int64_t *own = counts + sums->classes + (size_t)label * d;
  for (int32_t i = 0; i < d; i++) {
    const int32_t a = x[i] - z;
    inputs[i] += a;
    own[i] += a;
    for (int32_t j = i; j < d; j++) *products++ += a * (x[j] - z);
  }
  counts[label]++;
  sums->samples++;
}

typedef struct {
  FleetPut put;
  void *to;
  uint32_t crc;
} Out;

static void put_byte(Out *out, uint8_t byte) {
  out->crc ^= byte;
  for (int bit = 0; bit < 8; bit++)
    out->crc = (out->crc >> 1) ^ (0xEDB88320u & (0u - (out->crc & 1u)));
  out->put(out->to, byte);
}

static void put_number(Out *out, uint64_t number, int bytes) {
  for (int i = 0; i < bytes; i++) put_byte(out, (uint8_t)(number >> (8 * i)));
}

/* The fewest bits that hold all numbers, two's complement; 0 for zeros. */
static int width_of(const int64_t *numbers, size_t count) {
  uint64_t all = 0;
  int any = 0;
  for (size_t i = 0; i < count; i++) {
    all |= (uint64_t)(numbers[i] < 0 ? ~numbers[i] : numbers[i]);
    any |= numbers[i] != 0;
  }
  int bits = any;
  for (; all; all >>= 1) bits++;
  return bits;
}

static void put_field(Out *out, const int64_t *numbers, size_t count) {
  const int bits = width_of(numbers, count);
  put_number(out, count, 4);
  put_byte(out, (uint8_t)bits);
  uint8_t byte = 0;
  int filled = 0;
  for (size_t i = 0; i < count; i++) {
    for (int bit = 0; bit < bits; bit++) {
      byte |= (uint8_t)((((uint64_t)numbers[i] >> bit) & 1u) << filled);
      if (++filled == 8) {
        put_byte(out, byte);
        byte = 0;
        filled = 0;
      }
    }
  }
  if (filled) put_byte(out, byte);
}

void fleet_write(const FleetSums *sums, const uint8_t plan[16],
                 const uint8_t masters[16], const char *name, FleetPut put,
                 void *to) {
  const size_t d = (size_t)sums->inputs, c = (size_t)sums->classes;
  const size_t counts[4] = {d, d * (d + 1) / 2, c, c * d};
  Out out = {put, to, 0xFFFFFFFFu};
  for (int i = 0; i < 4; i++) put_byte(&out, (uint8_t)"FGFL"[i]);
  put_byte(&out, 1); /* version */
  put_byte(&out, 1); /* sums */
  put_number(&out, 1, 2); /* of one sender */
  put_number(&out, 0, 4); /* in round 0 */
  put_number(&out, 4, 4); /* four fields */
  put_number(&out, sums->samples, 8);
  for (int i = 0; i < 16; i++) put_byte(&out, plan[i]);
  for (int i = 0; i < 16; i++) put_byte(&out, masters[i]);
  put_byte(&out, (uint8_t)strlen(name));
  for (const char *at = name; *at; at++) put_byte(&out, (uint8_t)*at);
  const int64_t *numbers = sums->numbers;
  for (int i = 0; i < 4; i++) {
    put_field(&out, numbers, counts[i]);
    numbers += counts[i];
  }
  const uint32_t crc = ~out.crc;
  for (int i = 0; i < 4; i++) put(to, (uint8_t)(crc >> (8 * i)));
}
