/* Random bits by address: (seed, step, direction, tensor, block), no state.
 *
 * Threefry-2x32 with 20 rounds (Salmon et al., "Parallel random numbers: as
 * easy as 1, 2, 3", SC 2011), as fixed_point/random_bits.py.
 */
#include "fg_core.h"

static uint32_t rotated(uint32_t x, unsigned bits) {
  return (x << bits) | (x >> (32 - bits));
}

void fg_threefry(uint32_t key_low, uint32_t key_high, uint32_t counter[2]) {
  static const uint8_t rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const uint32_t schedule[3] = {key_low, key_high,
                                key_low ^ key_high ^ 0x1BD11BDAu};
  uint32_t x0 = counter[0] + key_low, x1 = counter[1] + key_high;
  uint32_t group, round;
  for (group = 0; group < 5; group++) {
    for (round = 0; round < 4; round++) {
      x0 += x1;
      x1 = rotated(x1, rotations[group & 1][round]) ^ x0;
    }
    x0 += schedule[(group + 1) % 3];
    x1 += schedule[(group + 2) % 3] + group + 1;
  }
  counter[0] = x0;
  counter[1] = x1;
}

fg_key fg_key_of(const uint32_t *blob, uint32_t step, uint32_t direction) {
  uint32_t words[2];
  fg_key key;
  words[0] = step;
  words[1] = direction;
  fg_threefry(blob[FG_W_SEED_LOW], blob[FG_W_SEED_HIGH], words);
  key.low = words[0];
  key.high = words[1];
  return key;
}

uint64_t fg_sign_bits(fg_key key, uint32_t tensor, uint32_t block) {
  uint32_t words[2];
  words[0] = tensor;
  words[1] = block;
  fg_threefry(key.low, key.high, words);
  return (uint64_t)words[1] << 32 | words[0];
}

/* Whether the sample `a` comes before `b`: by key, then by number, as a stable
 * sort has it. */
static int comes_before(const uint32_t *keys, uint16_t a, uint16_t b) {
  return keys[a] < keys[b] || (keys[a] == keys[b] && a < b);
}

static void sift_down(const uint32_t *keys, uint16_t *order, uint32_t root,
                      uint32_t end) {
  uint16_t sinks = order[root];
  uint32_t child;
  while ((child = 2 * root + 1) < end) {
    if (child + 1 < end && comes_before(keys, order[child], order[child + 1])) {
      child++;
    }
    if (!comes_before(keys, sinks, order[child])) break;
    order[root] = order[child];
    root = child;
  }
  order[root] = sinks;
}

void fg_permutation(const uint32_t *blob, uint32_t epoch, uint32_t count,
                    uint32_t *keys, uint16_t *order) {
  fg_key key = fg_key_of(blob, epoch, 0);
  uint32_t i;
  for (i = 0; i < count; i++) {
    if (i % 2 == 0) {
      uint64_t drawn = fg_sign_bits(key, FG_BATCH_TENSOR, i / 2);
      keys[i] = (uint32_t)drawn;
      if (i + 1 < count) keys[i + 1] = (uint32_t)(drawn >> 32);
    }
    order[i] = (uint16_t)i;
  }
  for (i = count / 2; i-- > 0;) sift_down(keys, order, i, count);
  for (i = count; i-- > 1;) {
    uint16_t largest = order[0];
    order[0] = order[i];
    order[i] = largest;
    sift_down(keys, order, 0, i);
  }
}
