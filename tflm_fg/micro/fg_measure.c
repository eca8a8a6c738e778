/* Whole-number roots, lengths, factors and checksums: fixed_point/spread.py. */
#include "fg_core.h"

uint64_t fg_root(uint64_t x) {
  uint64_t root = 0, bit = (uint64_t)1 << 62;
  while (bit > x) bit >>= 2;
  for (; bit; bit >>= 2) {
    if (x >= root + bit) {
      x -= root + bit;
      root = (root >> 1) + bit;
    } else {
      root >>= 1;
    }
  }
  return root;
}

uint32_t fg_crc(uint32_t crc, const void *bytes, uint32_t count) {
  const uint8_t *at = bytes;
  int bit;
  crc = ~crc;
  while (count--) {
    crc ^= *at++;
    for (bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xEDB88320u & -(crc & 1));
  }
  return ~crc;
}

/* A real mantissa / 2**bits over a divisor / 2**fraction. 31 bits of the
 * divisor are enough, and leave room for the dividend: 17 + 31 bits. */
fg_factor fg_over(int64_t mantissa, int bits, uint64_t divisor, int fraction) {
  fg_factor found;
  int dropped = fg_bit_length(divisor) - 31, more;
  uint64_t kept;
  if (dropped < 0) dropped = 0;
  kept = divisor >> dropped;
  more = fg_bit_length(kept);
  found.mantissa =
      (int64_t)((((uint64_t)mantissa << more) + kept / 2) / kept);
  found.bits = bits + more + dropped - fraction;
  return found;
}

/* Sums are saturated at 2**45, factors have 17 bits and one more: 2**62. */
int64_t fg_scaled(int64_t sum, fg_factor factor, int more_bits) {
  const int64_t most = (int64_t)1 << 45, result = (int64_t)1 << 31;
  int64_t product = fg_clip(sum, -most, most) * factor.mantissa;
  int bits = factor.bits + more_bits;
  if (bits > 0) return fg_round_shift(product, bits > 62 ? 62 : bits);
  if (bits < -31) bits = -31;
  return fg_clip(product, -result, result) * ((int64_t)1 << -bits);
}
